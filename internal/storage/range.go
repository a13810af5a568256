package storage

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// Ranges is what an [FS] has besides that answers a range of an object by one request.
type Ranges interface {
	// ReadRange reads the bytes [off, off+n) of an object; fewer are an error that wraps io.ErrUnexpectedEOF.
	ReadRange(path string, off, n int64) ([]byte, error)
}

// opens counts what this process has opened for reading: see [Opens].
var opens atomic.Int64

// Opens is how often this process has opened a file or an object for reading, [ReadRange] included.
func Opens() int64 { return opens.Load() }

// ReadRange reads the bytes [off, off+n) of a file or an object: of a store that has them by one request, and of any other as
// [OpenReaderAt] reads. A file that ends before is an error that wraps io.ErrUnexpectedEOF.
func ReadRange(path string, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 {
		panic(fmt.Sprintf("storage: %s has no bytes %d to %d", path, off, off+n))
	}
	if !IsLocal(path) {
		fs, err := lookup(path)
		if err != nil {
			return nil, err
		}
		if r, ok := fs.(Ranges); ok {
			opens.Add(1)
			return r.ReadRange(path, off, n)
		}
	}
	f, err := OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if off+n > f.Size() { // before memory is taken for them
		return nil, fmt.Errorf("%s: bytes %d to %d are wanted of %d: %w", path, off, off+n, f.Size(), io.ErrUnexpectedEOF)
	}
	b := make([]byte, n)
	if k, err := f.ReadAt(b, off); int64(k) < n {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: bytes %d to %d: %w", path, off, off+n, err)
	}
	return b, nil
}
