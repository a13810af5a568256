package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/guard"
)

func TestCodes4(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var lut [16]float32
	copy(lut[:], randn(r, 16))
	const rows = 5
	codes := make([]uint8, rows*panelCols)
	for i := range codes {
		codes[i] = uint8(r.Uint32())
	}
	scale := guard.Float32(t, panelCols, guard.After)
	copy(scale, randn(r, panelCols))
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			h, w := half(guard.Float32(t, rows*panelCols, guard.After)), guard.Float32(t, 2*rows*panelCols, guard.After)
			Codes4Half(h, codes, &lut, scale, rows)
			Codes4Wide(w, codes, &lut, scale, rows)
			want := make([]float32, len(w))
			for i, c := range codes {
				r, n := i/panelCols, i%panelCols
				want[2*r*panelCols+n], want[(2*r+1)*panelCols+n] = lut[c>>4]*scale[n], lut[c&15]*scale[n]
			}
			if !slices.Equal(w, want) {
				t.Error("other float32 values")
			}
			for i, v := range rounded(want) {
				r, n := i/panelCols, i%panelCols
				if got := widen(h[(r/2*panelCols+n)*2+r%2]); got != v {
					t.Fatalf("row %d, column %d: %g, want %g", r, n, got, v)
				}
			}
		})
	}
}
