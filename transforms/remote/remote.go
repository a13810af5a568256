// Package remote binds the schemes of Beam's file systems ("gs", "s3", …) to internal/storage, so that inputs, shards and models may lie
// on object stores.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Bind serves the paths of each scheme by the file system that Beam's registry has for it. The package of that file system
// (".../beam/io/filesystem/gcs" for gs) must be imported by the program; without it every use of such a path is an error that says so.
func Bind(schemes ...string) {
	for _, s := range schemes {
		storage.Register(s, beamFS{})
	}
}

// beamFS is Beam's registry as a storage.FS. It has no reads of ranges, so an object opened for random reads is first copied to a
// temporary file.
type beamFS struct{}

func with(path string, do func(context.Context, filesystem.Interface) error) error {
	ctx := context.Background()
	f, err := filesystem.New(ctx, path)
	if err != nil {
		return err
	}
	if err := errors.Join(do(ctx, f), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Glob implements storage.FS.
func (beamFS) Glob(pattern string) (out []string, err error) {
	err = with(pattern, func(ctx context.Context, f filesystem.Interface) error {
		out, err = f.List(ctx, pattern)
		return err
	})
	return out, err
}

// OpenReaderAt implements storage.FS.
func (beamFS) OpenReaderAt(path string) (out storage.ReaderAt, err error) {
	err = with(path, func(ctx context.Context, f filesystem.Interface) error {
		// The file systems' own errors for what does not exist differ; listing tells.
		if found, lerr := f.List(ctx, path); lerr == nil && !slices.Contains(found, path) {
			return fs.ErrNotExist
		}
		r, err := f.OpenRead(ctx, path)
		if err != nil {
			return err
		}
		defer r.Close()
		out, err = storage.NewSpooled(r)
		return err
	})
	return out, err
}

// Put implements storage.FS.
func (beamFS) Put(path string, r io.Reader) error {
	return with(path, func(ctx context.Context, f filesystem.Interface) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w, err := f.OpenWrite(ctx, path)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			cancel() // so that closing does not publish half of it
			w.Close()
			return err
		}
		return w.Close()
	})
}

// Remove implements storage.FS.
func (beamFS) Remove(path string) error {
	return with(path, func(ctx context.Context, f filesystem.Interface) error {
		found, err := f.List(ctx, path)
		if err != nil || !slices.Contains(found, path) {
			return err
		}
		r, ok := f.(filesystem.Remover)
		if !ok {
			return errors.New("this file system cannot delete")
		}
		return r.Remove(ctx, path)
	})
}
