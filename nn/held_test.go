package nn

import (
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

// TestHeldOfHead: the head multiplies a tile of the vocabulary at a time, so that what kernels keep does not grow with the vocabulary; a
// linear layer's grows with its wider side; float32 weights keep nothing.
func TestHeldOfHead(t *testing.T) {
	if !kernels.WantsHalf() {
		t.Skip("this kernel set rounds nothing ahead of a product")
	}
	const v, d, rows = 4 * headTile, 16, 2016 // rows and columns as tiles have them, too
	half := quant.NewBF16(v, d, make([]float32, v*d), d, 1)
	x := []Shape{{Rows: T, Cols: d}}
	caps := Caps{T: rows, S: rows, N: 1}
	h := &Head{W: half, V: v, D: d, mode: ModeTrain}
	if got, want := h.Plan(x, []bool{true}).Held(caps), (kernels.Held{Halves: 2 * headRows * headTile}); got != want {
		t.Errorf("the head: %+v, want %+v", got, want)
	}
	l := &Linear{W: half, In: d, Out: v}
	if got, want := l.Plan(x, []bool{true}).Held(caps), (kernels.Held{Halves: 2 * rows * v}); got != want {
		t.Errorf("a linear layer: %+v, want %+v", got, want)
	}
	l.W = quant.NewF32(v, d, make([]float32, v*d), d, 1)
	if got := l.Plan(x, []bool{true}).Held(caps); got != (kernels.Held{}) {
		t.Errorf("a float32 layer: %+v", got)
	}
}
