package quant

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/kernels"
)

// f32 is a weight as packed float32 panels outside the Go heap: one tile.
type f32 struct {
	panels kernels.Panels
	block  *mem.Block
}

// NewF32 packs w, with element (o, i) at w[o·rs + i·cs], into panels outside the Go heap.
func NewF32(out, in int, w []float32, rs, cs int) Weight {
	if out <= 0 || in <= 0 || len(w) < (out-1)*rs+(in-1)*cs+1 {
		panic(fmt.Sprintf("quant: %d values for a weight [%d, %d] with strides %d, %d", len(w), out, in, rs, cs))
	}
	b := mem.AllocFloat32(kernels.PanelsLen(in, out))
	return &f32{panels: kernels.PackPanels(b.Float32(), in, out, w, cs, rs), block: b}
}

func (f *f32) Dims() (out, in int)                   { return f.panels.N, f.panels.K }
func (f *f32) Tiles() int                            { return 1 }
func (f *f32) TileRange(int) (lo, hi int)            { return 0, f.panels.N }
func (f *f32) Acquire(int, []float32) kernels.Panels { return f.panels }
func (f *f32) Release(int)                           {}
func (f *f32) ScratchLen() int                       { return 0 }
func (f *f32) Bytes() int64                          { return int64(len(f.panels.Data)) * 4 }
func (f *f32) Dense(dst []float32)                   { f.panels.Unpack(dst, 1, f.panels.K) }

func (f *f32) Rows(dst []float32, ids []int32) {
	k := f.panels.K
	for i, id := range ids {
		f.panels.Column(dst[i*k:(i+1)*k], int(id))
	}
}

// Free returns the weight's memory. It must not be used afterwards.
func (f *f32) Free() { f.block.Free() }
