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
	use    *Use // of a weight that is not always in memory
}

// newDense is the weight [out, in] whose panels occupy a block of denseBytes.
func newDense(out, in int, half bool, b *mem.Block) *dense {
	w := &dense{panels: kernels.Panels{K: in, N: out}, block: b}
	if half {
		w.panels.Half = b.Uint16()
	} else {
		w.panels.Data = b.Float32()
	}
	return w
}

// denseBytes is the memory that the panels of a weight [out, in] take.
func denseBytes(out, in int, half bool) int {
	if half {
		return 2 * kernels.HalfLen(in, out)
	}
	return 4 * kernels.PanelsLen(in, out)
}

// NewF32 packs w, with element (o, i) at w[o·rs + i·cs], into float32 panels outside the Go heap.
func NewF32(out, in int, w []float32, rs, cs int) Weight {
	check(out, in, w, rs, cs)
	d := newDense(out, in, false, mem.Alloc(denseBytes(out, in, false)))
	kernels.PackPanels(d.panels.Data, in, out, w, cs, rs)
	return d
}

// NewBF16 packs w rounded to bfloat16, two bytes a value. Products round their other factor too, and are summed in float32.
func NewBF16(out, in int, w []float32, rs, cs int) Weight {
	check(out, in, w, rs, cs)
	d := newDense(out, in, true, mem.Alloc(denseBytes(out, in, true)))
	kernels.PackHalf(d.panels.Half, in, out, w, cs, rs)
	return d
}

func check(out, in int, w []float32, rs, cs int) {
	if out <= 0 || in <= 0 || len(w) < (out-1)*rs+(in-1)*cs+1 {
		panic(fmt.Sprintf("quant: %d values for a weight [%d, %d] with strides %d, %d", len(w), out, in, rs, cs))
	}
}

func (f *dense) Dims() (out, in int)        { return f.panels.N, f.panels.K }
func (f *dense) Tiles() int                 { return 1 }
func (f *dense) TileRange(int) (lo, hi int) { return 0, f.panels.N }
func (f *dense) ScratchLen() int            { return 0 }
func (f *dense) Bytes() int64               { return int64(len(f.panels.Data))*4 + int64(len(f.panels.Half))*2 }

func (f *dense) Acquire(*pool.Pool, int, []float32) kernels.Panels {
	f.use.begin()
	return f.panels
}

func (f *dense) Release(int) { f.use.end() }

func (f *dense) Dense(dst []float32) {
	f.use.begin()
	f.panels.Unpack(dst, 1, f.panels.K)
	f.use.end()
}

func (f *dense) Rows(dst []float32, ids []int32) {
	f.use.begin()
	k := f.panels.K
	for i, id := range ids {
		f.panels.Column(dst[i*k:(i+1)*k], int(id))
	}
	f.use.end()
}

// Free returns the weight's memory. It must not be used afterwards.
func (f *dense) Free() { f.block.Free() }
