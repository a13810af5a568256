package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// File is a file being written under a temporary name. Nothing is visible under its path before [File.Commit].
type File struct {
	f    *os.File
	path string
	done bool
	bad  error // the first failed write

	unsynced bool
}

// syncs counts what this process has waited for the disk: see [Syncs].
var syncs atomic.Int64

// Syncs is how often this process has flushed a file or a folder to the disk.
func Syncs() int64 { return syncs.Load() }

// Unsynced makes Commit not wait for the disk. It is for files that are made again after the machine was lost, and that are found damaged
// by their checksum: a process that is killed loses nothing of them.
func (f *File) Unsynced() { f.unsynced = true }

// What is written is its owner's alone, whatever the umask, since nearly all of it is made of what users process. Folders in the formats of
// models and adapters, which are made to be used elsewhere, are shared: readable by whom the umask lets read.
const (
	privateFile, privateDir = 0o600, 0o700
	sharedFile, sharedDir   = 0o644, 0o755
)

// Create begins writing the file at path, making its folder when absent; both are their owner's alone. The temporary name is unique to the
// call, so that two attempts may write the same path at once; the last Commit wins. Every File ends with Commit or Abort; after a Commit,
// Abort does nothing, so `defer f.Abort()` is right.
func Create(path string) (*File, error) { return create(path, privateFile, privateDir) }

// CreateShared is Create of a file that others may read where the umask lets them: see [MkdirShared].
func CreateShared(path string) (*File, error) { return create(path, sharedFile, sharedDir) }

func create(path string, file, folder fs.FileMode) (*File, error) {
	if !IsLocal(path) {
		if _, err := lookup(path); err != nil {
			return nil, err
		}
		f, err := unnamed()
		if err != nil {
			return nil, explain(path, err)
		}
		return &File{f: f, path: path}, nil
	}
	if err := CheckTarget(path); err != nil {
		return nil, err
	}
	dir, base := filepath.Dir(Local(path)), filepath.Base(Local(path))
	if err := mkdirAll(dir, folder); err != nil {
		return nil, err
	}
	for {
		// Not os.CreateTemp, whose files no umask is asked about.
		name := filepath.Join(dir, "."+base+".tmp-"+strconv.FormatUint(uint64(rand.Uint32()), 10))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, file)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, explain(path, err)
		}
		return &File{f: f, path: path}, nil
	}
}

// Path is the path the file will have after Commit.
func (f *File) Path() string { return f.path }

// SetPath gives the file another name in its folder, such as one with a hash of the content. It is called before Commit.
func (f *File) SetPath(path string) { f.path = path }

// SHA256 returns the hexadecimal SHA-256 of what has been written.
func (f *File) SHA256() (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f.f, 0, math.MaxInt64)); err != nil {
		return "", explain(f.path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Write appends to the file. After an error Commit refuses.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	if err != nil {
		f.bad = explain(f.path, err)
		return n, f.bad
	}
	return n, nil
}

// WriteAt writes at an offset, as io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	if err != nil {
		f.bad = explain(f.path, err)
		return n, f.bad
	}
	return n, nil
}

// Extend makes a local file size bytes long and returns it, for who maps it into memory. It stays the File's own, to be committed or
// aborted.
func (f *File) Extend(size int64) (*os.File, error) {
	if err := f.f.Truncate(size); err != nil {
		f.bad = explain(f.path, err)
		return nil, f.bad
	}
	return f.f, nil
}

// Commit makes the file visible under its path: sync, rename, sync of the folder; or, on an object store, upload. When it fails nothing
// is left behind and the earlier file, if any, is untouched.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("%s: already committed or aborted", f.path)
	}
	if f.bad != nil {
		f.Abort()
		return f.bad
	}
	if err := CheckTarget(f.path); err != nil { // again, since it may have come meanwhile
		f.Abort()
		return err
	}
	if err := f.commit(); err != nil {
		f.Abort()
		return explain(f.path, err)
	}
	f.done = true
	return nil
}

func (f *File) commit() error {
	tmp := f.f.Name()
	if !IsLocal(f.path) {
		fs, err := lookup(f.path)
		if err != nil {
			return err
		}
		if _, err := f.f.Seek(0, 0); err != nil {
			return err
		}
		if err := fs.Put(f.path, f.f); err != nil {
			return err
		}
		return closeUnnamed(f.f)
	}
	if !f.unsynced {
		syncs.Add(1)
		if err := f.f.Sync(); err != nil {
			return err
		}
	}
	if err := f.f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, Local(f.path)); err != nil {
		return err
	}
	if f.unsynced {
		return nil
	}
	syncs.Add(1)
	return syncDir(filepath.Dir(Local(f.path)))
}

// Abort drops what was written. After Commit or Abort it does nothing.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.f.Close()
	os.Remove(f.f.Name())
}

// unnamed makes a temporary file that ends with the process, however it ends: its name is removed at once where the system removes open
// files, and by [closeUnnamed] where it does not.
func unnamed() (*os.File, error) {
	f, err := os.CreateTemp("", "adaptflow-*")
	if err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

func closeUnnamed(f *os.File) error {
	err := f.Close()
	if gone := os.Remove(f.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// WriteJSON writes a value as indented JSON, atomically.
func WriteJSON(path string, v any) error {
	b, err := MarshalJSON(v, " ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return WriteFile(path, append(b, '\n'))
}

// WriteFile writes a whole file atomically.
func WriteFile(path string, data []byte) error { return write(path, data, Create) }

// WriteShared is WriteFile of a file that others may read where the umask lets them: see [MkdirShared].
func WriteShared(path string, data []byte) error { return write(path, data, CreateShared) }

func write(path string, data []byte, create func(string) (*File, error)) error {
	f, err := create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// MkdirAll makes a local folder and its parents, their owner's alone; on an object store there is nothing to make. What exists stays as it
// is.
func MkdirAll(dir string) error { return mkdirAll(dir, privateDir) }

// MkdirShared is MkdirAll of a folder in a format that others read: a model's or an adapter's. The umask says who may.
func MkdirShared(dir string) error { return mkdirAll(dir, sharedDir) }

func mkdirAll(dir string, mode fs.FileMode) error {
	if !IsLocal(dir) {
		return nil
	}
	if err := os.MkdirAll(Local(dir), mode); err != nil {
		return explain(dir, err)
	}
	return nil
}

// Remove deletes a file; that it does not exist is not an error.
func Remove(path string) error {
	if !IsLocal(path) {
		fs, err := lookup(path)
		if err != nil {
			return err
		}
		return fs.Remove(path)
	}
	if err := os.Remove(Local(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return explain(path, err)
	}
	return nil
}

// temporary says whether a file's name is one that [Create] gives.
func temporary(name string) bool {
	base, digits, ok := strings.Cut(name, ".tmp-")
	return ok && strings.HasPrefix(base, ".") && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// Sweep removes from a local folder, and from those in it, the files that writers which were killed have left under their temporary names.
// The caller holds the folder's lock, so that nobody is writing there.
func Sweep(dir string) error {
	if !IsLocal(dir) {
		return nil
	}
	return filepath.WalkDir(Local(dir), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return explain(path, err)
		case d.Type().IsRegular() && temporary(d.Name()):
			return Remove(path)
		}
		return nil
	})
}

// WriteOnce writes a file whole where there is none yet, and returns what the file holds: of attempts at the same time one writes, and all
// return its bytes. A local file is not waited for to reach the disk.
func WriteOnce(path string, data []byte) ([]byte, error) {
	if IsLocal(path) {
		return writeOnceHere(path, data)
	}
	if _, err := objects(path); err != nil { // a store that overwrites: what attempts at the same time write here must be the same
		return data, WriteFile(path, data)
	}
	_, err := PutIfAbsent(context.Background(), path, bytes.NewReader(data))
	if errors.Is(err, ErrExists) {
		return ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

func writeOnceHere(path string, data []byte) ([]byte, error) {
	f, err := Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return nil, err
	}
	err = f.link(false)
	if errors.Is(err, fs.ErrExist) {
		return ReadFile(path)
	}
	if err != nil {
		return nil, explain(path, err)
	}
	return data, nil
}

// CopyFile copies a file, atomically.
func CopyFile(to, from string) error { return copyFile(to, from, Create) }

// CopyShared is CopyFile to a file that others may read where the umask lets them: see [MkdirShared].
func CopyShared(to, from string) error { return copyFile(to, from, CreateShared) }

func copyFile(to, from string, create func(string) (*File, error)) error {
	r, err := OpenReaderAt(from)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := create(to)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.Copy(f, NewReader(r)); err != nil {
		return err
	}
	return f.Commit()
}
