package storage

import (
	"io"
	"sync"
)

// blockSize and keptBlocks bound what an object read by ranges holds in memory: the footer of a Parquet file, a column's pages and the
// place where a sequential reader stands.
const (
	blockSize  = 4 << 20
	keptBlocks = 4
)

// NewBlocks serves random reads of an object of size bytes from blocks that read fetches (all of [off, off+n)) and of which a few are kept.
// close, if not nil, is called by Close. It is how a store with range requests serves [OpenReaderAt].
func NewBlocks(size int64, read func(off, n int64) ([]byte, error), close func() error) ReaderAt {
	return &blocks{size: size, read: read, close: close}
}

type block struct {
	at   int64
	data []byte
}

type blocks struct {
	mu    sync.Mutex
	size  int64
	read  func(off, n int64) ([]byte, error)
	close func() error
	kept  []block // the one used last at the end
}

func (b *blocks) Size() int64 { return b.size }

func (b *blocks) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = nil
	if b.close == nil {
		return nil
	}
	return b.close()
}

// ReadAt implements io.ReaderAt.
func (b *blocks) ReadAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n < len(p) {
		if off >= b.size {
			return n, io.EOF
		}
		data, err := b.block(off / blockSize * blockSize)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], data[off%blockSize:])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

func (b *blocks) block(at int64) ([]byte, error) {
	for i, k := range b.kept {
		if k.at == at {
			b.kept = append(append(b.kept[:i], b.kept[i+1:]...), k)
			return k.data, nil
		}
	}
	data, err := b.read(at, min(blockSize, b.size-at))
	if err != nil {
		return nil, err
	}
	if len(b.kept) == keptBlocks {
		b.kept = append(b.kept[:0], b.kept[1:]...)
	}
	b.kept = append(b.kept, block{at, data})
	return data, nil
}
