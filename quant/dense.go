package quant

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// dense is a weight as packed panels outside the Go heap, float32 or bfloat16: one tile.
type dense struct {
	panels kernels.Panels
	block  *mem.Block
}

// NewF32 packs w, with element (o, i) at w[o·rs + i·cs], into float32 panels outside the Go heap.
func NewF32(out, in int, w []float32, rs, cs int) Weight {
	check(out, in, w, rs, cs)
	b := mem.AllocFloat32(kernels.PanelsLen(in, out))
	return &dense{panels: kernels.PackPanels(b.Float32(), in, out, w, cs, rs), block: b}
}

// NewBF16 packs w rounded to bfloat16, two bytes a value. Products round their other factor too, and are summed in float32.
func NewBF16(out, in int, w []float32, rs, cs int) Weight {
	check(out, in, w, rs, cs)
	b := mem.AllocFloat32(kernels.HalfLen(in, out) / 2)
	return &dense{panels: kernels.PackHalf(b.Uint16(), in, out, w, cs, rs), block: b}
}

func check(out, in int, w []float32, rs, cs int) {
	if out <= 0 || in <= 0 || len(w) < (out-1)*rs+(in-1)*cs+1 {
		panic(fmt.Sprintf("quant: %d values for a weight [%d, %d] with strides %d, %d", len(w), out, in, rs, cs))
	}
}

func (f *dense) Dims() (out, in int)                               { return f.panels.N, f.panels.K }
func (f *dense) Tiles() int                                        { return 1 }
func (f *dense) TileRange(int) (lo, hi int)                        { return 0, f.panels.N }
func (f *dense) Acquire(*pool.Pool, int, []float32) kernels.Panels { return f.panels }
func (f *dense) Release(int)                                       {}
func (f *dense) ScratchLen() int                                   { return 0 }
func (f *dense) Bytes() int64                                      { return int64(len(f.panels.Data))*4 + int64(len(f.panels.Half))*2 }
func (f *dense) Dense(dst []float32)                               { f.panels.Unpack(dst, 1, f.panels.K) }

func (f *dense) Rows(dst []float32, ids []int32) {
	k := f.panels.K
	for i, id := range ids {
		f.panels.Column(dst[i*k:(i+1)*k], int(id))
	}
}

// Free returns the weight's memory. It must not be used afterwards.
func (f *dense) Free() { f.block.Free() }
