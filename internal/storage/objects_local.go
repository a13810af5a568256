package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// localObjects are local files as objects. Preconditions are checked under a lock of the folder ([swapLock]), which those who write by
// preconditions take; a file is created by a hard link, which fails where there is one.
type localObjects struct{}

// swapLock is the name of the file that is locked in a folder while a file of it is replaced or removed by its version.
const swapLock = ".adaptflow-swap.lock"

// swapWait is how long it is waited between two looks at a lock that is taken for as long as a small file is written.
const swapWait = 2 * time.Millisecond

// Stat implements [Objects].
func (localObjects) Stat(ctx context.Context, uri string) (Info, error) {
	f, st, err := openRegular(uri)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Info{}, explain(uri, err)
	}
	v := Version(hex.EncodeToString(h.Sum(nil)))
	return Info{URI: uri, Size: st.Size(), Version: v, Modified: st.ModTime(), Now: time.Now()}, ctx.Err()
}

// Fetch implements [Objects].
func (localObjects) Fetch(ctx context.Context, uri string, most int64) ([]byte, Info, error) {
	f, st, err := openRegular(uri)
	if err != nil {
		return nil, Info{}, err
	}
	defer f.Close()
	b, err := Kind{KindState.Name, most}.read(uri, st.Size(), f)
	if err != nil {
		return nil, Info{}, err
	}
	return b, Info{URI: uri, Size: st.Size(), Version: Version(SHA256(b)), Modified: st.ModTime(), Now: time.Now()}, ctx.Err()
}

// PutIf implements [Objects].
func (l localObjects) PutIf(ctx context.Context, uri string, body io.ReadSeeker, have Version) (Version, error) {
	f, err := Create(uri)
	if err != nil {
		return Absent, err
	}
	defer f.Abort()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return Absent, fmt.Errorf("%s: %w", uri, err)
	}
	if _, err := io.Copy(f, body); err != nil {
		return Absent, fmt.Errorf("%s: %w", uri, err)
	}
	sum, err := f.SHA256()
	if err != nil {
		return Absent, err
	}
	if have == Absent {
		err = f.link(true)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return Version(sum), changedIf(uri, err)
		}
		if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) { // file systems without hard links say either
			return Absent, explain(uri, err)
		}
	}
	return Version(sum), l.locked(ctx, uri, have, f.Commit)
}

func changedIf(uri string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", uri, ErrChanged)
	}
	return nil
}

// link makes the file visible under its path where there is none; a durable one has reached the disk then.
func (f *File) link(durable bool) error {
	if durable {
		syncs.Add(2)
		if err := f.f.Sync(); err != nil {
			return err
		}
	}
	if err := os.Link(f.f.Name(), Local(f.path)); err != nil || !durable {
		return err
	}
	return syncDir(filepath.Dir(Local(f.path)))
}

// RemoveIf implements [Objects].
func (l localObjects) RemoveIf(ctx context.Context, uri string, have Version) error {
	if _, err := os.Stat(Local(uri)); err != nil {
		return explain(uri, err)
	}
	return l.locked(ctx, uri, have, func() error { return explain(uri, os.Remove(Local(uri))) })
}

// locked does what under the folder's lock if the version of a file is have.
func (l localObjects) locked(ctx context.Context, uri string, have Version, what func() error) error {
	path := filepath.Join(filepath.Dir(Local(uri)), swapLock)
	for {
		_, release, err := lockFile(path)
		if err == nil {
			defer release()
			break
		}
		if !errors.Is(err, errBusy) {
			return explain(path, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", uri, ctx.Err())
		case <-time.After(swapWait):
		}
	}
	is, err := l.Stat(ctx, uri)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || have != Absent) {
		return err
	}
	if is.Version != have {
		return fmt.Errorf("%s: %w", uri, ErrChanged)
	}
	return what()
}

// List implements [Objects].
func (localObjects) List(ctx context.Context, folder string, each func(Info) error) error {
	root := Local(folder)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return explain(path, err)
		}
		if !d.Type().IsRegular() || d.Name() == swapLock {
			return ctx.Err()
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return explain(path, err)
		}
		return each(Info{URI: path, Size: st.Size(), Modified: st.ModTime()})
	})
}

// Clock implements [Objects]: the time of a file that is made in the folder, since the folder may be another machine's.
func (localObjects) Clock(_ context.Context, uri string) (time.Time, error) {
	f, err := Create(filepath.Join(Local(uri), "clock"))
	if err != nil {
		return time.Time{}, err
	}
	defer f.Abort()
	st, err := f.f.Stat()
	if err != nil {
		return time.Time{}, explain(uri, err)
	}
	return st.ModTime(), nil
}
