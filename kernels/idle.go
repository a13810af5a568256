package kernels

import (
	"sync"

	"github.com/adaptflow/adaptflow/internal/mem"
)

// idle is a list of blocks for what one kind of call needs beside its arguments, which grow with the largest call. They lie outside the Go heap, whose size the
// collector lets double before it collects. Each kind of call has a list of its own, lest a small one take the block of a large one.
type idle struct {
	mu     sync.Mutex
	blocks []*mem.Block
}

// get returns a block of at least n bytes, not cleared, to be given back by put.
func (l *idle) get(n int) *mem.Block {
	l.mu.Lock()
	var b *mem.Block
	if k := len(l.blocks); k > 0 {
		b, l.blocks = l.blocks[k-1], l.blocks[:k-1]
	}
	l.mu.Unlock()
	if b == nil || len(b.Bytes()) < n {
		b.Free()
		b = mem.Alloc(n)
	}
	return b
}

func (l *idle) put(b *mem.Block) {
	l.mu.Lock()
	l.blocks = append(l.blocks, b)
	l.mu.Unlock()
}

var (
	idleKeys   idle // the keys and values of an attention, rearranged
	idleHalves idle // a factor of a product, rounded to bfloat16
)
