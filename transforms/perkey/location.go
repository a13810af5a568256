package perkey

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

	"golang.org/x/sync/errgroup"

	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
)

// Workers that share nothing but a location ([train.Job.Location]) write a key's adapter into a folder of their own and copy its files to
// the location, metrics.json last, so that a folder with it is whole and a retry writes equal bytes. What names the base model by its path
// on the driver's machine, the configuration and the model card, they leave in the work folder with a mark in the path's place, and the
// driver puts it into the adapters' folders: see [Publish].

// requests bounds the files that are read or written at a time.
const requests = 16

// elsewhere says that the workers share a location alone.
func (c *Config) elsewhere() bool { return c.Job.Location != "" }

// pull brings what the settings refer to to this machine.
func (c *Config) pull(ctx context.Context) (err error) {
	if !c.elsewhere() {
		return nil
	}
	if err = c.Job.Pull(ctx); err != nil {
		return err
	}
	c.InitAdapters, err = pulled.Folder(ctx, c.InitAdapters)
	return err
}

// textsDir is where the files that name the base are until the driver publishes them.
func textsDir(work string) string { return storage.Join(work, "texts") }

// File is a file of a key's folder at a location.
type File struct {
	Name    string          `json:"name"`
	Size    int64           `json:"size"`
	Version storage.Version `json:"version"` // see [storage.Version]
}

// Files are the files of each folder in a folder of folders.
type Files map[string][]File

// ListFolders lists the files of the folders in out. One that does not exist has none.
func ListFolders(ctx context.Context, out string) (Files, error) {
	files := Files{}
	root := strings.TrimRight(filepath.ToSlash(storage.Local(out)), "/") + "/"
	err := storage.List(ctx, out, func(i storage.Info) error {
		dir, name := path.Split(strings.TrimPrefix(filepath.ToSlash(i.URI), root))
		dir = strings.TrimSuffix(dir, "/")
		files[dir] = append(files[dir], File{name, i.Size, i.Version})
		return nil
	})
	return files, err
}

// Lacks says what of a key's folder is not among the files that its folder at a location, out, and the work folder have; "" for nothing, or
// where the key has none. Nothing is read: see [Result.Damaged].
func (r *Result) Lacks(files ...Files) string {
	if r.Dir == "" {
		return ""
	}
	has := func(what func(File) bool) bool {
		return slices.ContainsFunc(files, func(f Files) bool { return slices.ContainsFunc(f[r.Dir], what) })
	}
	for _, name := range append([]string{MetricsFile, LineageFile}, peft.Naming...) {
		if !has(func(f File) bool { return f.Name == name }) {
			return "lacks " + name
		}
	}
	if !has(File.weights) {
		return "lacks its weights"
	}
	return ""
}

// homeAt is [findHome] at a location, where no earlier version worked. finished says that the adapter there is whole and has the binding.
func (c *Config) homeAt(ctx context.Context, key, binding string) (h home, finished bool, err error) {
	h.dir = KeyName(key)
	dir := storage.Join(c.OutDir, h.dir)
	if h.kept, err = resultAt(dir); h.kept == nil || err != nil {
		return h, false, err
	}
	if h.kept.Key != key {
		return h, false, otherKey(dir, h.kept.Key)
	}
	if h.kept.Binding != binding {
		return h, false, nil
	}
	there, texts := Files{}, Files{}
	for at, files := range map[string]Files{dir: there, storage.Join(textsDir(c.WorkDir), h.dir): texts} {
		found, err := ListFolders(ctx, at)
		if err != nil {
			return h, false, err
		}
		files[h.dir] = found[""]
	}
	if h.kept.Lacks(there, texts) != "" {
		return h, false, nil
	}
	damaged, err := h.kept.altered(dir, there[h.dir])
	return h, !damaged, err
}

// resultAt reads the result in a key's folder at a location, nil where there is none or it is damaged.
func resultAt(dir string) (*Result, error) {
	raw, err := storage.ReadFile(storage.Join(dir, MetricsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if json.Unmarshal(raw, r) != nil {
		return nil, nil
	}
	return r, nil
}

// removeAt removes a key's folder from a location, first what makes it finished.
func (c *Config) removeAt(ctx context.Context, name string) error {
	for _, dir := range []string{storage.Join(c.OutDir, name), storage.Join(textsDir(c.WorkDir), name)} {
		if err := storage.Remove(storage.Join(dir, MetricsFile)); err != nil {
			return err
		}
		if _, err := storage.RemoveTree(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// saveAt writes a key's folder to the location. Where the adapter there has the binding already, by another attempt, its files are written
// again with the same bytes and never missing.
func (c *Config) saveAt(sp *spec, r *Result, save func(dir string) error) error {
	tmp, err := os.MkdirTemp("", "adaptflow-key-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	from := filepath.Join(tmp, r.Dir)
	if err := save(from); err != nil {
		return err
	}
	dir, texts := storage.Join(c.OutDir, r.Dir), storage.Join(textsDir(c.WorkDir), r.Dir)
	if kept, err := resultAt(dir); err != nil {
		return err
	} else if kept == nil || kept.Binding != sp.Binding {
		for _, name := range []string{MetricsFile, LineageFile} {
			if err := storage.Remove(storage.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to := dir
		switch {
		case e.Name() == MetricsFile:
			continue
		case slices.Contains(peft.Naming, e.Name()):
			to = texts
		}
		if err := storage.CopyShared(storage.Join(to, e.Name()), filepath.Join(from, e.Name())); err != nil {
			return err
		}
	}
	return storage.CopyFile(storage.Join(dir, MetricsFile), filepath.Join(from, MetricsFile))
}

// Publish puts what names the base model, by the driver's name for it, into the folders out of the keys at a location, and says of the
// first that is not whole then what it lacks.
func Publish(ctx context.Context, results []Result, out, work, base string) error {
	texts, err := ListFolders(ctx, textsDir(work))
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(requests)
	for i := range results {
		dir := results[i].Dir
		if dir == "" || len(texts[dir]) == 0 {
			continue
		}
		g.Go(func() error {
			for _, name := range peft.Naming {
				if err := gctx.Err(); err != nil {
					return err
				}
				raw, err := storage.ReadFile(storage.Join(textsDir(work), dir, name))
				if err == nil {
					err = storage.WriteShared(storage.Join(out, dir, name), peft.NameBase(raw, peft.BaseMark, base))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	there, err := ListFolders(ctx, out)
	if err != nil {
		return err
	}
	for i := range results {
		if why := results[i].Lacks(there); why != "" {
			return fmt.Errorf("the folder %s of the key %q %s: run again, which makes it", storage.Join(out, results[i].Dir),
				results[i].Key, why)
		}
	}
	return nil
}
