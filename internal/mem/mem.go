// Package mem hands out large blocks of memory outside the Go heap, so that the collector neither scans nor counts them.
package mem

import (
	"math"
	"unsafe"
)

// Align is the alignment of every block in bytes: one transparent huge page on x86.
const Align = 2 << 20

// Block is a block of memory outside the Go heap. The zero Block is empty.
type Block struct {
	raw  []byte // what the system handed out
	data []byte // the aligned part
	own  bool   // counted: no mapped file
}

// Bytes returns the block's memory, zeroed when new.
func (b *Block) Bytes() []byte { return b.data }

// Float32 returns the block's memory as float32 values.
func (b *Block) Float32() []float32 {
	if len(b.data) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b.data[0])), len(b.data)/4)
}

// Alloc returns a zeroed block of n bytes, aligned to Align. It panics with a [NoRoom] when the system has no memory for it.
func Alloc(n int) *Block {
	if n <= 0 {
		return &Block{}
	}
	check(n)
	raw := reserve(n + Align)
	off := int(-uintptr(unsafe.Pointer(&raw[0])) & (Align - 1))
	b := &Block{raw: raw, data: raw[off : off+n : off+n], own: true}
	held.Add(int64(n))
	whole(b.data)
	return b
}

// Uint16 returns the block's memory as 16-bit values.
func (b *Block) Uint16() []uint16 {
	if b == nil || len(b.data) == 0 {
		return nil
	}
	return unsafe.Slice((*uint16)(unsafe.Pointer(&b.data[0])), len(b.data)/2)
}

// Int8 returns the block's memory as signed bytes.
func (b *Block) Int8() []int8 {
	if b == nil || len(b.data) == 0 {
		return nil
	}
	return unsafe.Slice((*int8)(unsafe.Pointer(&b.data[0])), len(b.data))
}

// AllocFloat32 returns a zeroed block of n float32 values.
func AllocFloat32(n int) *Block {
	if n > math.MaxInt64/8 {
		n = math.MaxInt64 / 8 // which no system has
	}
	return Alloc(4 * n)
}

// Free returns the block to the system. Slices of it must not be used afterwards.
func (b *Block) Free() {
	if b != nil && b.raw != nil {
		if b.own {
			held.Add(-int64(len(b.data)))
		} else {
			mapped.Add(-int64(len(b.data)))
		}
		release(b.raw)
		b.raw, b.data = nil, nil
	}
}
