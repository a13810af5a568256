package storage

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// FS serves the paths of one scheme. All paths it receives and returns are whole, with the scheme; its errors begin with them.
type FS interface {
	// Glob lists the objects that match the pattern, in any order.
	Glob(pattern string) ([]string, error)
	// OpenReaderAt opens an object for random reads.
	OpenReaderAt(path string) (ReaderAt, error)
	// Put stores the content of r under path; an object is visible whole or not at all.
	Put(path string, r io.Reader) error
	// Remove deletes an object.
	Remove(path string) error
}

// Reach checks that the file system of a path answers for it: that there are credentials, and a bucket. A local path is reached.
func Reach(path string) error {
	if IsLocal(path) {
		return nil
	}
	fs, err := lookup(path)
	if err == nil {
		_, err = fs.Glob(path)
	}
	return err
}

// RangeSize is the size of a file of which ranges are read where it lies: a local one, or an object of a store that has [Ranges]. ok is
// false of others, which are copied whole before anything of them is read.
func RangeSize(path string) (size int64, ok bool, err error) {
	if IsLocal(path) {
		st, err := os.Stat(Local(path))
		if err != nil {
			return 0, false, explain(path, err)
		}
		return st.Size(), st.Mode().IsRegular(), nil
	}
	f, err := lookup(path)
	if err != nil {
		return 0, false, err
	}
	if _, ok := f.(Ranges); !ok {
		return 0, false, nil
	}
	r, err := f.OpenReaderAt(path)
	if err != nil {
		return 0, false, err
	}
	return r.Size(), true, r.Close()
}

// ReaderAt is an open file or object of known size.
type ReaderAt interface {
	io.ReaderAt
	io.Closer
	// Size is the number of bytes.
	Size() int64
}

var (
	registryMu sync.RWMutex
	registry   = map[string]FS{}
)

// Register binds a scheme ("gs") to the file system that serves it, replacing an earlier binding. It panics on an empty scheme.
func Register(scheme string, fs FS) {
	if scheme == "" || fs == nil {
		panic("storage: Register needs a scheme and a file system")
	}
	registryMu.Lock()
	defer registryMu.Unlock()
	registry[scheme] = fs
}

// Scheme returns the scheme of a path ("gs" of "gs://bucket/key"), or "" for a local path, "file://" included.
func Scheme(path string) string {
	i := strings.Index(path, "://")
	if i <= 0 {
		return ""
	}
	s := path[:i]
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return ""
		}
	}
	if s = strings.ToLower(s); s == "file" {
		return ""
	}
	return s
}

// IsLocal reports whether a path is a local file's.
func IsLocal(path string) bool { return Scheme(path) == "" }

// Join joins path elements under a base that may have a scheme.
func Join(base string, elem ...string) string {
	if IsLocal(base) {
		return filepath.Join(append([]string{Local(base)}, elem...)...)
	}
	parts := []string{strings.TrimRight(base, "/")}
	for _, e := range elem {
		if e = strings.Trim(filepath.ToSlash(e), "/"); e != "" {
			parts = append(parts, e)
		}
	}
	return strings.Join(parts, "/")
}

// Local returns a local path without its "file://".
func Local(path string) string {
	if len(path) > 7 && strings.EqualFold(path[:7], "file://") {
		return path[7:]
	}
	return path
}

// lookup returns the file system of a path with a scheme.
func lookup(path string) (FS, error) {
	s := Scheme(path)
	registryMu.RLock()
	defer registryMu.RUnlock()
	if fs, ok := registry[s]; ok {
		return fs, nil
	}
	known := make([]string, 0, len(registry))
	for k := range registry {
		known = append(known, k+"://")
	}
	slices.Sort(known)
	have := "only local paths"
	if len(known) > 0 {
		have = "local paths, " + strings.Join(known, ", ")
	}
	return nil, fmt.Errorf("%s: the scheme %s:// is unknown here (known: %s)", path, s, have)
}
