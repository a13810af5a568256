package quant

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// Like stores the matrix m, [Out, In] row-major, in the way in which w is stored: in its number format, or quantised to its code with its
// block size and its double quantisation, or to its blocks.
func Like(w Weight, m []float32) Weight {
	out, in := w.Dims()
	switch w := w.(type) {
	case *dense:
		if w.panels.Half != nil {
			return NewBF16(out, in, m, in, 1)
		}
		return NewF32(out, in, m, in, 1)
	case *weight4:
		return NewBits4(Quantize4(w.q.Code, m, out, in, w.q.BlockSize, w.q.Nested != nil), w.half)
	case *weight8:
		return NewInt8(QuantizeInt8(m, out, in), w.threshold, w.half)
	case *blocks:
		s := beginBlocks(w.Format)(out, in, w.Half)
		s.put(0, m[:out*in])
		return s.done()
	case *changed:
		return Like(w.base, m)
	}
	panic(fmt.Sprintf("quant: no way to store a matrix as a %T", w))
}

// Quantised says whether w is stored as codes, not as floating-point numbers.
func Quantised(w Weight) bool {
	switch w := w.(type) {
	case *weight4, *weight8, *blocks:
		return true
	case *changed:
		return Quantised(w.base)
	}
	return false
}

// InBlocks says whether w is stored in ggml's blocks.
func InBlocks(w Weight) bool {
	if c, ok := w.(*changed); ok {
		return InBlocks(c.base)
	}
	_, ok := w.(*blocks)
	return ok
}

// changed is a weight in place of another, stored as that one is and made when it is first read.
type changed struct {
	base Weight
	once sync.Once
	make func() []float32
	w    Weight
}

// NewChanged is the matrix that dense returns, [Out, In] row-major, stored as base is. dense is called once, when the weight is first read:
// a plan of memory costs nothing. The memory goes when the weight is no longer used.
func NewChanged(base Weight, dense func() []float32) Weight { return &changed{base: base, make: dense} }

func (c *changed) weight() Weight {
	c.once.Do(func() {
		c.w = Like(c.base, c.make())
		c.make = nil
		if f, ok := c.w.(interface{ Free() }); ok {
			runtime.AddCleanup(c, func(f interface{ Free() }) { f.Free() }, f)
		}
	})
	return c.w
}

func (c *changed) Dims() (out, in int)             { return c.base.Dims() }
func (c *changed) Tiles() int                      { return c.base.Tiles() }
func (c *changed) TileRange(tile int) (lo, hi int) { return c.base.TileRange(tile) }
func (c *changed) ScratchLen() int                 { return c.base.ScratchLen() }
func (c *changed) Bytes() int64                    { return c.base.Bytes() }
func (c *changed) Release(tile int)                { c.weight().Release(tile) }
func (c *changed) Rows(dst []float32, ids []int32) { c.weight().Rows(dst, ids) }
func (c *changed) Dense(dst []float32)             { c.weight().Dense(dst) }
func (c *changed) Acquire(p *pool.Pool, tile int, scratch []float32) kernels.Panels {
	return c.weight().Acquire(p, tile, scratch)
}

// RowNorms are the squared 2-norms of the rows of w.
func RowNorms(w Weight) []float64 {
	out, in := w.Dims()
	n, row := make([]float64, out), make([]float32, in)
	for o := range n {
		w.Rows(row, []int32{int32(o)})
		n[o] = kernels.SumSquares(row)
	}
	return n
}

// ColumnNorms are the squared 2-norms of the columns of w.
func ColumnNorms(w Weight) []float64 {
	out, in := w.Dims()
	n, row := make([]float64, in), make([]float32, in)
	for o := range out {
		w.Rows(row, []int32{int32(o)})
		for i, v := range row {
			n[i] += float64(v) * float64(v)
		}
	}
	return n
}
