// Package objects serves the paths of object stores, s3://BUCKET/KEY and gs://BUCKET/KEY: after [Register] a program reads and writes them
// through internal/storage, and Beam's transforms do. The packages of pipelines call it; a program with pipelines of its own does.
//
// An object is read by ranges, pinned to the version that was opened, and appears whole or not at all. There is no rename and no lock: what
// consists of several objects is described by a manifest that is written last.
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

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Register makes s3:// and gs:// paths of this process, in the driver and in each worker. Calls after the first do nothing. No store is
// asked before a path of it is used.
var Register = sync.OnceFunc(func() {
	storage.Register("s3", s3Files)
	storage.Register("gs", gsFiles)
	registerWithBeam()
})

// store is the client of an object store. Its errors say what is wrong in words and wrap fs.ErrNotExist for an object that is not there;
// that a bucket is not there is another error.
type store interface {
	// list gives the keys that begin with prefix, in any order.
	list(ctx context.Context, bucket, prefix string, each func(key string)) error
	// stat gives an object's size and what pins its version.
	stat(ctx context.Context, bucket, key string) (size int64, version string, err error)
	// read reads [off, off+n) of a version; n < 0 is to the end, version "" any.
	read(ctx context.Context, bucket, key, version string, off, n int64) (io.ReadCloser, error)
	put(ctx context.Context, bucket, key string, r io.Reader) error
	remove(ctx context.Context, bucket, key string) error
}

// files is a store as a storage.FS. The client is made at the first use, so that a program which names no such path needs no credentials.
type files struct {
	scheme string
	open   func(context.Context) (store, error)
	once   sync.Once
	client store
	err    error
}

func (f *files) do(p string, what func(ctx context.Context, s store, bucket, key string) error) error {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(p, f.scheme+"://"), "/")
	if bucket == "" || !ok || key == "" {
		return fmt.Errorf("%s: want %s://BUCKET/KEY", p, f.scheme)
	}
	ctx := context.Background()
	if f.once.Do(func() { f.client, f.err = f.open(ctx) }); f.err != nil {
		return fmt.Errorf("%s: %w", p, f.err)
	}
	if err := what(ctx, f.client, bucket, key); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// Glob implements storage.FS. Patterns are those of path.Match, in which * ends at a slash; an object whose key is the pattern is meant
// literally.
func (f *files) Glob(pattern string) (out []string, err error) {
	err = f.do(pattern, func(ctx context.Context, s store, bucket, key string) error {
		if _, err := path.Match(key, ""); err != nil {
			return fmt.Errorf("not a valid pattern: %w", err)
		}
		prefix := key
		if i := strings.IndexAny(key, `*?[\`); i >= 0 {
			prefix = key[:i]
		}
		literal, folder := false, false
		if err := s.list(ctx, bucket, prefix, func(k string) {
			literal = literal || k == key
			folder = folder || strings.HasPrefix(k, strings.TrimSuffix(key, "/")+"/")
			if ok, _ := path.Match(key, k); ok && !strings.HasSuffix(k, "/") {
				out = append(out, f.scheme+"://"+bucket+"/"+k)
			}
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
	err = f.do(p, func(ctx context.Context, s store, bucket, key string) error {
		size, version, err := s.stat(ctx, bucket, key)
		if err != nil {
			return err
		}
		out = storage.NewBlocks(size, func(off, n int64) ([]byte, error) {
			r, err := s.read(ctx, bucket, key, version, off, n)
			if err == nil {
				b := make([]byte, n)
				_, err = io.ReadFull(r, b)
				if err = errors.Join(err, r.Close()); err == nil {
					return b, nil
				}
			}
			return nil, fmt.Errorf("%s: reading bytes %d to %d: %w", p, off, off+n, err)
		}, nil)
		return nil
	})
	return out, err
}

// Put implements storage.FS.
func (f *files) Put(p string, r io.Reader) error {
	return f.do(p, func(ctx context.Context, s store, bucket, key string) error { return s.put(ctx, bucket, key, r) })
}

// Remove implements storage.FS.
func (f *files) Remove(p string) error {
	return f.do(p, func(ctx context.Context, s store, bucket, key string) error {
		if err := s.remove(ctx, bucket, key); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
