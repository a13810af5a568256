// Package quant says how a frozen weight is stored. Ops reach a weight through Weight alone, a tile at a time, so that packed
// float32, quantised blocks and weights streamed from disk are implementations of one interface.
package quant

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// Weight is a frozen matrix W [Out, In]. It is safe for concurrent reading, each reader with a scratch of its own.
type Weight interface {
	// Dims are the output and input sizes.
	Dims() (out, in int)
	// Tiles is the number of tiles, ranges of output rows.
	Tiles() int
	// TileRange is the range [lo, hi) of output rows of a tile; lo is a multiple of 48.
	TileRange(tile int) (lo, hi int)
	// Acquire returns, working with the threads of p, the panels of Wᵀ for the rows of a tile, K = In and N = hi-lo, valid until Release.
	// scratch has ScratchLen values, which the panels may occupy.
	Acquire(p *pool.Pool, tile int, scratch []float32) kernels.Panels
	// Release ends the use of a tile.
	Release(tile int)
	// ScratchLen is the number of float32 values that Acquire needs; 0 where the panels lie in memory as they are.
	ScratchLen() int
	// Rows copies row ids[i] to dst[i·In:], the embedding lookup.
	Rows(dst []float32, ids []int32)
	// Dense writes the whole matrix, [Out, In] row-major.
	Dense(dst []float32)
	// Bytes is the memory that the weight occupies.
	Bytes() int64
}

// Forward computes y [m, Out] = x [m, In]·Wᵀ as the linear layer of w's storage does: LLM.int8 quantises x too, in which the rows have a
// part in each other: see ForwardRows. scratch has ForwardScratch values.
func Forward(p *pool.Pool, w Weight, m int, x, y, scratch []float32) {
	forward(p, w, m, x, y, scratch, false)
}

// ForwardRows is Forward by the contract of bits (see package kernels): a row of y depends on that row of x alone. It differs from Forward
// for LLM.int8, where a column that holds an outlier in some row is left out of the codes of that row only, not of all m rows.
func ForwardRows(p *pool.Pool, w Weight, m int, x, y, scratch []float32) {
	forward(p, w, m, x, y, scratch, true)
}

func forward(p *pool.Pool, w Weight, m int, x, y, scratch []float32, byRow bool) {
	if c, ok := w.(*changed); ok {
		w = c.weight()
	}
	if q, ok := w.(*weight8); ok {
		need("Forward", len(x), m*q.in, len(y), m*q.out)
		q.forward(p, m, x, y, scratch, byRow)
		return
	}
	MulT(p, w, m, x, 0, y, scratch)
}

// ForwardScratch is the number of float32 values of scratch that Forward of up to m rows needs, and MulT and Mul.
func ForwardScratch(w Weight, m int) int {
	switch w := w.(type) {
	case *weight8:
		return max(w.ScratchLen(), w.forwardScratch(m))
	case *changed:
		return ForwardScratch(w.base, m)
	}
	return w.ScratchLen()
}

// Held is what kernels keep after products of w with m rows, in both directions, of up to columns output rows of w at once.
func Held(w Weight, m, columns int) kernels.Held {
	half := false
	switch w := w.(type) {
	case *dense:
		half = w.panels.Half != nil
	case *weight4:
		half = w.half
	case *weight8:
		half = w.half
	case *blocks:
		half = w.Half
	case *changed:
		return Held(w.base, m, columns)
	}
	if !half {
		return kernels.Held{}
	}
	_, in := w.Dims()
	_, tile := w.TileRange(0)
	return kernels.HeldProduct(m, max(in, min(tile, columns)))
}

// MulT computes y [m, Out] = beta·y + x [m, In]·Wᵀ. beta is 0 or 1.
func MulT(p *pool.Pool, w Weight, m int, x []float32, beta float32, y []float32, scratch []float32) {
	out, in := w.Dims()
	need("MulT", len(x), m*in, len(y), m*out)
	if q, ok := w.(interface {
		few(p *pool.Pool, m int, x []float32, beta float32, y []float32) bool
	}); ok && q.few(p, m, x, beta, y) {
		return
	}
	for t := range w.Tiles() {
		lo, hi := w.TileRange(t)
		b := w.Acquire(p, t, scratch)
		// A tile's last row of y ends before the next tile's columns, so the slice is cut to what is written.
		kernels.MatMul(p, m, x, in, b, beta, y[lo:(m-1)*out+hi], out)
		w.Release(t)
	}
}

// Mul computes dx [m, In] = beta·dx + dy [m, Out]·W: the product that carries a gradient back. beta is 0 or 1.
func Mul(p *pool.Pool, w Weight, m int, dy []float32, beta float32, dx []float32, scratch []float32) {
	out, in := w.Dims()
	need("Mul", len(dy), m*out, len(dx), m*in)
	for t := range w.Tiles() {
		lo, hi := w.TileRange(t)
		b := w.Acquire(p, t, scratch)
		kernels.MatMulT(p, m, dy[lo:(m-1)*out+hi], out, b, beta, dx, in)
		w.Release(t)
		beta = 1
	}
}

func need(name string, have ...int) {
	for i := 0; i < len(have); i += 2 {
		if have[i] < have[i+1] {
			panic(fmt.Sprintf("quant: %s: a slice of %d values where %d are used", name, have[i], have[i+1]))
		}
	}
}
