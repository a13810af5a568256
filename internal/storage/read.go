package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

type localFile struct {
	*os.File
	size int64
}

func (f *localFile) Size() int64 { return f.size }

// OpenReaderAt opens a file for random reads. A folder is an error.
func OpenReaderAt(path string) (ReaderAt, error) {
	if !IsLocal(path) {
		fs, err := lookup(path)
		if err != nil {
			return nil, err
		}
		opens.Add(1)
		return fs.OpenReaderAt(path)
	}
	f, st, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	return &localFile{File: f, size: st.Size()}, nil
}

// OpenFile opens a local file for reading. What is not a regular file, such as a folder, a FIFO or a device, is an error at once.
func OpenFile(path string) (*os.File, error) {
	f, _, err := openRegular(path)
	return f, err
}

func openRegular(path string) (*os.File, fs.FileInfo, error) {
	// Asked before it is opened, for opening some devices does something, and again after, for it may have changed meanwhile.
	st, err := os.Stat(Local(path))
	if err != nil {
		return nil, nil, explain(path, err)
	}
	if err := regular(st.Mode()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	opens.Add(1)
	f, err := openNow(Local(path))
	if err != nil {
		return nil, nil, explain(path, err)
	}
	if st, err = f.Stat(); err == nil {
		err = regular(st.Mode())
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, st, nil
}

// NewSpooled reads r to its end into an unnamed temporary file and returns that for random reads; it is how a store without range
// reads serves [OpenReaderAt]. The space is given back by Close.
func NewSpooled(r io.Reader) (ReaderAt, error) {
	f, err := unnamed()
	if err != nil {
		return nil, explain(os.TempDir(), err)
	}
	n, err := io.Copy(f, r)
	if err != nil {
		closeUnnamed(f)
		return nil, explain(f.Name(), err)
	}
	return &spooled{localFile{File: f, size: n}}, nil
}

type spooled struct{ localFile }

func (s *spooled) Close() error { return closeUnnamed(s.File) }

// NewReader returns a sequential reader over an open file.
func NewReader(r ReaderAt) *io.SectionReader { return io.NewSectionReader(r, 0, r.Size()) }

// ReadFile returns the whole content of a file that a run wrote itself. What comes from elsewhere is read by [ReadSmall] with its kind.
func ReadFile(path string) ([]byte, error) { return ReadSmall(path, KindState) }

// Exists reports whether a file can be opened. Any error but "there is none" is returned.
func Exists(path string) (bool, error) {
	f, err := OpenReaderAt(path)
	if err == nil {
		return true, f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return false, err
}

// Glob returns the files (not folders) that match the pattern (syntax of path/filepath.Match), sorted. A pattern that matches nothing,
// a path that does not exist included, is an error that names it and wraps fs.ErrNotExist.
func Glob(pattern string) ([]string, error) {
	var found []string
	if IsLocal(pattern) {
		// A name that exists is meant literally, whatever characters it has.
		if st, err := os.Stat(Local(pattern)); err == nil && !st.IsDir() {
			return []string{Local(pattern)}, nil
		} else if err == nil {
			return nil, fmt.Errorf("input %s: is a folder; name the files in it, as %s", pattern, filepath.Join(Local(pattern), "*"))
		}
		all, err := filepath.Glob(Local(pattern))
		if err != nil {
			return nil, fmt.Errorf("input %s: not a valid pattern: %w", pattern, err)
		}
		for _, p := range all {
			if st, err := os.Stat(p); err == nil && !st.IsDir() {
				found = append(found, p)
			}
		}
	} else {
		fs, err := lookup(pattern)
		if err != nil {
			return nil, err
		}
		if found, err = fs.Glob(pattern); err != nil {
			return nil, fmt.Errorf("input %w", err) // it names the path
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("input %s: no file matches: %w", pattern, fs.ErrNotExist)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// SHA256File returns the hexadecimal SHA-256 of a file's content, read as a stream.
func SHA256File(path string) (string, error) {
	f, err := OpenReaderAt(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, NewReader(f)); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// SHA256 returns the hexadecimal SHA-256 of bytes.
func SHA256(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
