package kernels

import (
	"sync"

	"github.com/adaptflow/adaptflow/internal/mem"
)

// idle is a list of blocks for what one kind of call needs beside its arguments, which grow with the largest call. They lie outside the Go
// heap, whose size the collector lets double before it collects. Each kind of call has a list of its own, lest a small one take the block
// of a large one.
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

func (l *idle) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.blocks {
		b.Free()
	}
	l.blocks = nil
}

// FreeIdle frees what kernels keep for their own use and no call has now; later calls take it anew.
func FreeIdle() {
	idleKeys.free()
	idleHalves.free()
}

var (
	idleKeys   idle // the keys and values of an attention, rearranged
	idleHalves idle // a factor of a product, rounded to bfloat16
)

// Held is the memory, in bytes, that kernels keep for their own use once the largest calls of a program have run: for attention and for
// products, one beside the other. Programs that run at once have it each.
type Held struct{ Keys, Halves int64 }

// Max is what the calls of both keep.
func (h Held) Max(o Held) Held { return Held{max(h.Keys, o.Keys), max(h.Halves, o.Halves)} }

// Total is the sum in bytes.
func (h Held) Total() int64 { return h.Keys + h.Halves }

// Held is what [Attn.Forward] keeps for rows rows of documents longer than a few, without what fills up their last panels of keys.
func (a Attn) Held(rows int) Held { return Held{Keys: 8 * int64(a.KVHeads*a.HeadDim) * int64(rows)} }

// HeldProduct is what a product of a matrix [m, k] with one in bfloat16 keeps.
func HeldProduct(m, k int) Held {
	if !WantsHalf() {
		return Held{}
	}
	if tiles() != nil {
		m, k = (m+stripRows-1)&^(stripRows-1), (k+stepHalves-1)&^(stepHalves-1)
	}
	return Held{Halves: 2 * int64(m) * int64((k+1)&^1)}
}
