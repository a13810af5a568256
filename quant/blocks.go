package quant

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// blocks is a matrix in ggml's blocks, as a GGUF file has them: in that file's memory, or in this process's. A tile is expanded for a
// product; its values, and those of rows, are the ones that a dense weight of the same values has, rounded to bfloat16 where that is.
type blocks struct {
	kernels.Blocks
	block *mem.Block
}

// NewBlocks is the weight [out, in] of the rows of blocks in b's memory from byte at on, which it then owns: row o is row order[o] there,
// o itself where order is nil. With half set its values are rounded to bfloat16.
func NewBlocks(f *ggml.Format, out, in int, b *mem.Block, at int, order []int32, half bool) Weight {
	w := &blocks{kernels.Blocks{K: in, N: out, Format: f, Data: b.Bytes()[at:][:f.Size(out*in)], Order: order, Half: half}, b}
	w.Check()
	return w
}

// beginBlocks is the sink of a matrix that is quantised to a format of ggml's.
func beginBlocks(f *ggml.Format) func(out, in int, half bool) sink {
	return func(out, in int, half bool) sink {
		return blocksSink{NewBlocks(f, out, in, mem.Alloc(f.Size(out*in)), 0, nil, half).(*blocks)}
	}
}

type blocksSink struct{ w *blocks }

func (s blocksSink) put(lo int, rows []float32) {
	f := s.w.Format
	f.Write(s.w.Data[lo*f.Size(s.w.K):], rows)
}

func (s blocksSink) done() Weight { return s.w }

// whole says that rows of in values are not whole blocks of the storage.
func (s *Storage) whole(in int) error {
	if f := s.Format; f != nil && in%f.Block != 0 {
		return fmt.Errorf("storage %s: rows of %d values are not whole blocks of %d; q8_0 has blocks of 32", s.Name, in, f.Block)
	}
	return nil
}

func (w *blocks) Dims() (out, in int) { return w.N, w.K }

// rows is the number of rows of a tile.
func (w *blocks) rows() int {
	const width = kernels.PanelWidth
	return max(2, min(8, tile4/(w.K*width))) * width
}

func (w *blocks) Tiles() int { return (w.N + w.rows() - 1) / w.rows() }

func (w *blocks) TileRange(tile int) (lo, hi int) {
	return tile * w.rows(), min((tile+1)*w.rows(), w.N)
}

func (w *blocks) ScratchLen() int {
	if w.Half {
		return kernels.HalfLen(w.K, min(w.N, w.rows())) / 2
	}
	return kernels.PanelsLen(w.K, min(w.N, w.rows()))
}

func (w *blocks) Acquire(p *pool.Pool, tile int, scratch []float32) kernels.Panels {
	lo, hi := w.TileRange(tile)
	return w.Panels(p, scratch, lo, hi)
}

func (w *blocks) Release(int) {}

// few computes y = beta·y + x·Wᵀ for a few rows, and says whether it did.
func (w *blocks) few(p *pool.Pool, m int, x []float32, beta float32, y []float32) bool {
	if m > kernels.FewRows {
		return false
	}
	kernels.MatMulBlocks(p, m, x, w.K, &w.Blocks, beta, y, w.N)
	return true
}

func (w *blocks) Rows(dst []float32, ids []int32) {
	for i, id := range ids {
		w.Column(dst[i*w.K:(i+1)*w.K], int(id))
	}
}

func (w *blocks) Dense(dst []float32) {
	for o := range w.N {
		w.Column(dst[o*w.K:(o+1)*w.K], o)
	}
}

func (w *blocks) Bytes() int64 { return int64(len(w.Data)) + 4*int64(len(w.Order)) }

// Free returns the weight's memory. It must not be used afterwards.
func (w *blocks) Free() { w.block.Free() }
