// Package objects serves the paths of object stores, s3://BUCKET/KEY and gs://BUCKET/KEY: after [Register] a program reads and writes them
// through internal/storage, and Beam's transforms do. The packages of pipelines call it; a program with pipelines of its own does.
//
// An object is read by ranges, pinned to the version that was opened, and appears whole or not at all. There is no rename: what consists of
// several objects is described by a manifest that is written last (storage.PutSet). Locks are objects, too (storage.Hold), written by
// preconditions.
//
// All of it is tested against the servers of internal/storage/storagetest, which are written from the services' documentation. On Amazon S3
// and Google Cloud Storage themselves it was not run.
package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Register makes s3:// and gs:// paths of this process, in the driver and in each worker. Calls after the first do nothing. No store is
// asked before a path of it is used.
var Register = sync.OnceFunc(func() {
	storage.Register("s3", s3Files)
	storage.Register("gs", gsFiles)
	registerWithBeam()
})

// store is the client of an object store. Its errors say what is wrong in words and are kinds of internal/storage: fs.ErrNotExist for an
// object that is not there, storage.ErrNoBucket, …
type store interface {
	// list gives the objects whose keys begin with prefix, in any order.
	list(ctx context.Context, bucket, prefix string, each func(object) error) error
	stat(ctx context.Context, bucket, key string) (object, error)
	// read reads [off, off+n) of a version; n < 0 is to the end, version "" any.
	read(ctx context.Context, bucket, key, version string, off, n int64) (io.ReadCloser, object, error)
	// put stores an object and returns its version; storage.ErrChanged if the precondition does not hold.
	put(ctx context.Context, bucket, key string, r io.Reader, o putOptions) (string, error)
	// remove deletes an object, of the version if there is one.
	remove(ctx context.Context, bucket, key, version string) error
}

// object is what a store says of an object.
type object struct {
	key      string
	size     int64
	version  string // what pins it: an ETag, a generation
	modified time.Time
	mark     string // of the call that wrote it; empty in lists
}

// putOptions are the preconditions of a put.
type putOptions struct {
	absent  bool   // that there is no object
	version string // that this is its version, if not empty
	mark    string // kept with the object, so that a call whose answer was lost finds that it was the one
}

// markName is the name of the mark in an object's metadata.
const markName = "adaptflow-put"

// files are a store as a storage.FS and storage.Objects. The client is made at the first use, so that a program which names no such path
// needs no credentials.
type files struct {
	scheme string
	open   func(context.Context) (store, error)
	once   sync.Once
	client store
	err    error
	known  known
}

var (
	_ storage.FS      = (*files)(nil)
	_ storage.Objects = (*files)(nil)
	_ storage.Ranges  = (*files)(nil)
)

func (f *files) do(ctx context.Context, p string, what func(ctx context.Context, s store, bucket, key string) error) error {
	return f.call(ctx, p, &call{}, what)
}

// below does what with a folder, which may be a bucket itself: with its keys' prefix, which ends with a slash or is "".
func (f *files) below(ctx context.Context, folder string, what func(ctx context.Context, s store, bucket, prefix string) error) error {
	return f.named(ctx, folder, storage.Join(folder, "x"), &call{}, func(ctx context.Context, s store, bucket, key string) error {
		return what(ctx, s, bucket, strings.TrimSuffix(key, "x"))
	})
}

func (f *files) call(ctx context.Context, p string, c *call,
	what func(ctx context.Context, s store, bucket, key string) error) error {
	return f.named(ctx, p, p, c, what)
}

// named calls what with the object of a URI; errors name what is asked for.
func (f *files) named(ctx context.Context, asked, p string, c *call,
	what func(ctx context.Context, s store, bucket, key string) error) error {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(p, f.scheme+"://"), "/")
	if bucket == "" || !ok || key == "" {
		return fmt.Errorf("%s: want %s://BUCKET/KEY", asked, f.scheme)
	}
	if f.once.Do(func() { f.client, f.err = f.open(context.Background()) }); f.err != nil {
		return fmt.Errorf("%s: %w", asked, f.err)
	}
	c.known = &f.known
	if err := what(withCall(ctx, c), f.client, bucket, key); err != nil {
		return fmt.Errorf("%s: %w", asked, err)
	}
	return nil
}

// Glob implements storage.FS. Patterns are those of path.Match, in which * ends at a slash; an object whose key is the pattern is meant
// literally.
func (f *files) Glob(pattern string) (out []string, err error) {
	err = f.do(context.Background(), pattern, func(ctx context.Context, s store, bucket, key string) error {
		if _, err := path.Match(key, ""); err != nil {
			return fmt.Errorf("not a valid pattern: %w", err)
		}
		prefix := key
		if i := strings.IndexAny(key, `*?[\`); i >= 0 {
			prefix = key[:i]
		}
		literal, folder := false, false
		if err := s.list(ctx, bucket, prefix, func(o object) error {
			k := o.key
			literal = literal || k == key
			folder = folder || strings.HasPrefix(k, strings.TrimSuffix(key, "/")+"/")
			if ok, _ := path.Match(key, k); ok && !strings.HasSuffix(k, "/") {
				out = append(out, f.scheme+"://"+bucket+"/"+k)
			}
			return nil
		}); err != nil {
			return err
		}
		switch {
		case literal && !strings.HasSuffix(key, "/"):
			out = []string{pattern}
		case len(out) == 0 && folder && prefix == key:
			return fmt.Errorf("is a folder; name the objects in it, as %s/*", strings.TrimSuffix(pattern, "/"))
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// OpenReaderAt implements storage.FS.
func (f *files) OpenReaderAt(p string) (out storage.ReaderAt, err error) {
	err = f.do(context.Background(), p, func(ctx context.Context, s store, bucket, key string) error {
		o, err := s.stat(ctx, bucket, key)
		if err != nil {
			return err
		}
		out = storage.NewBlocks(o.size, func(off, n int64) (b []byte, err error) {
			err = f.do(context.Background(), p, func(ctx context.Context, s store, bucket, key string) error {
				b, _, err = fetch(ctx, s, bucket, key, o.version, off, n)
				if err != nil {
					err = fmt.Errorf("reading bytes %d to %d: %w", off, off+n, err)
				}
				return err
			})
			return b, err
		}, nil)
		return nil
	})
	return out, err
}

// ReadRange implements storage.Ranges.
func (f *files) ReadRange(p string, off, n int64) (b []byte, err error) {
	if n == 0 {
		return nil, nil
	}
	err = f.do(context.Background(), p, func(ctx context.Context, s store, bucket, key string) error {
		b, _, err = fetch(ctx, s, bucket, key, "", off, n)
		if err != nil {
			err = fmt.Errorf("reading bytes %d to %d: %w", off, off+n, err)
		}
		return err
	})
	return b, err
}

// cuts is how often a body may break off.
const cuts = 10

// fetch reads a range whole, n < 0 to the end, again where its body breaks off, which the clients do not try again.
func fetch(ctx context.Context, s store, bucket, key, version string, off, n int64) (b []byte, o object, err error) {
	pause := time.Duration(0)
	for tries := 1; ; tries++ {
		if !sleep(ctx, pause) {
			return nil, o, ctx.Err()
		}
		var r io.ReadCloser
		if r, o, err = s.read(ctx, bucket, key, version, off, n); err != nil {
			return nil, o, err
		}
		want := n
		if n < 0 {
			want = o.size - off
		}
		b = make([]byte, want)
		_, err = io.ReadFull(r, b)
		if err = errors.Join(err, r.Close()); err == nil {
			return b, o, nil
		}
		pause = min(longestPause, max(100*time.Millisecond, 2*pause))
		if ctx.Err() != nil || tries == cuts {
			return nil, o, storage.AsKind(fmt.Errorf("the answer broke off: %w", err), storage.ErrUnavailable)
		}
	}
}

// Put implements storage.FS.
func (f *files) Put(p string, r io.Reader) error {
	return f.do(context.Background(), p, func(ctx context.Context, s store, bucket, key string) error {
		_, err := putMarked(ctx, s, bucket, key, r, putOptions{mark: newMark()})
		return err
	})
}

// Remove implements storage.FS.
func (f *files) Remove(p string) error {
	return f.do(context.Background(), p, func(ctx context.Context, s store, bucket, key string) error {
		if err := s.remove(ctx, bucket, key, ""); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
