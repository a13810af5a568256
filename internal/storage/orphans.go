package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// sweepers is how many objects are deleted at once.
const sweepers = 16

// Orphans says which objects [SweepOrphans] deletes.
type Orphans struct {
	// Older is how long ago an object must have been written, by the store's clock: longer than from the first part of a set to its
	// manifest.
	Older time.Duration
	// Manifests says whether an object is a manifest, by its path below the root; nil is one whose name ends with "manifest.json".
	Manifests func(name string) bool
	// Names reads which objects a manifest names, below its folder; nil reads those of [PutSet].
	Names func(uri string, content []byte) ([]string, error)
	// Keep says what else stays, by its path below the root; it may be nil. location.json, leases and locks always stay.
	Keep func(name string) bool
}

// Swept is what sweeping has deleted.
type Swept struct {
	Objects, Bytes int64
	Uploads        int64 // in parts, which were never finished
}

// uploadSweeper is an [Objects] whose uploads in parts outlive who began them.
type uploadSweeper interface {
	// SweepUploads ends the uploads below a folder that were begun before a time, and says how many.
	SweepUploads(ctx context.Context, folder string, before time.Time) (int64, error)
}

// below is an object's path below a folder, with slashes.
func below(root, uri string) string {
	if IsLocal(root) {
		if rel, err := filepath.Rel(Local(root), uri); err == nil {
			return filepath.ToSlash(rel)
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(uri, strings.TrimRight(root, "/")), "/")
}

// stays says whether an object is none that sweeping may delete.
func stays(name string) bool {
	base := path.Base(name)
	return base == LocationName || strings.HasSuffix(base, LeaseExt) || base == LockName || base == swapLock
}

// SweepOrphans deletes the objects below root that no manifest names and that are older than an age: what attempts that were killed have
// left. It may run beside a writer: what is deleted is asked for once more right before, and deleted as the version that was found, so that
// a part which a writer has written again stays. (On S3, where equal bytes are an equal version, a part that is written again in the very
// moment between the question and the deletion is lost; [PutSet] and [ReadSet] then name it.) A manifest that cannot be read ends the
// sweep with nothing deleted.
//
// Uploads in parts that were killed halfway are not objects, but S3 keeps, and charges for, what has come of them; they are ended, too.
func SweepOrphans(ctx context.Context, root string, o Orphans) (Swept, error) {
	now, err := Clock(ctx, root)
	if err != nil {
		return Swept{}, err
	}
	out, err := sweepObjects(ctx, root, o, now)
	if err != nil {
		return out, err
	}
	s, err := objects(root)
	if u, ok := s.(uploadSweeper); ok {
		out.Uploads, err = u.SweepUploads(ctx, root, now.Add(-o.Older))
	}
	return out, err
}

func sweepObjects(ctx context.Context, root string, o Orphans, now time.Time) (Swept, error) {
	if o.Manifests == nil {
		o.Manifests = func(name string) bool { return strings.HasSuffix(name, "manifest.json") }
	}
	if o.Names == nil {
		o.Names = setNames
	}
	var old []Info
	manifests := []string{}
	// The manifests are read after the list: a part that is listed and whose manifest came meanwhile is named.
	if err := List(ctx, root, func(i Info) error {
		switch name := below(root, i.URI); {
		case stays(name) || o.Keep != nil && o.Keep(name):
		case o.Manifests(name):
			manifests = append(manifests, i.URI)
		case now.Sub(i.Modified) > o.Older:
			old = append(old, i)
		}
		return nil
	}); err != nil || len(old) == 0 {
		return Swept{}, err
	}
	if err := List(ctx, root, func(i Info) error {
		if o.Manifests(below(root, i.URI)) {
			manifests = append(manifests, i.URI)
		}
		return nil
	}); err != nil {
		return Swept{}, err
	}
	slices.Sort(manifests)
	named := map[string]bool{}
	for _, m := range slices.Compact(manifests) {
		raw, _, err := Fetch(ctx, m, KindState)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Swept{}, err
		}
		names, err := o.Names(m, raw)
		if err != nil {
			return Swept{}, fmt.Errorf("%s: nothing is swept, since this manifest cannot be read: %w", m, err)
		}
		for _, n := range names {
			named[Join(folderOf(m), n)] = true
		}
	}
	old = slices.DeleteFunc(old, func(i Info) bool { return named[i.URI] })
	return remove(ctx, root, old, func(i Info) bool { return now.Sub(i.Modified) > o.Older })
}

func setNames(_ string, raw []byte) ([]string, error) {
	var t setText
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	if t.Schema != partsSchema {
		return nil, fmt.Errorf("its form is %d, and this version reads %d", t.Schema, partsSchema)
	}
	names := make([]string, len(t.Parts))
	for i, p := range t.Parts {
		names[i] = p.Name
	}
	return names, nil
}

// RemoveTree deletes all objects below root, of finished work: the manifests (which are the default ones of [Orphans]) before their parts,
// so that what is left of a removal that was killed is orphans. Nobody may be writing there.
func RemoveTree(ctx context.Context, root string) (Swept, error) {
	var first, then []Info
	if err := List(ctx, root, func(i Info) error {
		if strings.HasSuffix(i.URI, "manifest.json") {
			first = append(first, i)
		} else {
			then = append(then, i)
		}
		return nil
	}); err != nil {
		return Swept{}, err
	}
	all := func(Info) bool { return true }
	a, err := remove(ctx, root, first, all)
	if err != nil {
		return a, err
	}
	b, err := remove(ctx, root, then, all)
	return Swept{Objects: a.Objects + b.Objects, Bytes: a.Bytes + b.Bytes}, err
}

// remove deletes objects that still are as they should be.
func remove(ctx context.Context, root string, list []Info, still func(Info) bool) (Swept, error) {
	s, err := objects(root)
	if err != nil {
		return Swept{}, err
	}
	var n, bytes atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sweepers)
	for _, i := range list {
		g.Go(func() error {
			gone, err := false, error(nil)
			if IsLocal(root) {
				gone, err = removeFile(i, still)
			} else if is, serr := s.Stat(ctx, i.URI); serr != nil {
				err = serr
			} else if still(is) {
				err = s.RemoveIf(ctx, i.URI, is.Version)
				gone = err == nil
			}
			if gone {
				n.Add(1)
				bytes.Add(i.Size)
			}
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrChanged) {
				return nil
			}
			return err
		})
	}
	err = g.Wait()
	return Swept{Objects: n.Load(), Bytes: bytes.Load()}, err
}

// removeFile is remove of one local file, whose version would be the hash of all that it holds.
func removeFile(i Info, still func(Info) bool) (bool, error) {
	st, err := os.Lstat(i.URI)
	if err != nil {
		return false, explain(i.URI, err)
	}
	if i.Modified = st.ModTime(); !still(i) {
		return false, nil
	}
	if err := os.Remove(i.URI); err != nil {
		return false, explain(i.URI, err)
	}
	return true, nil
}
