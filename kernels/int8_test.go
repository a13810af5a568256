package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/guard"
)

func TestCodes8(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	const rows = 5
	codes := make([]int8, rows*2*panelCols)
	for i := range codes {
		codes[i] = int8(r.Uint32())
	}
	scale := guard.Float32(t, panelCols, guard.After)
	copy(scale, randn(r, panelCols))
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			h, w := half(guard.Float32(t, rows*panelCols, guard.After)), guard.Float32(t, 2*rows*panelCols, guard.After)
			Codes8Half(h, codes, scale, rows)
			Codes8Wide(w, codes, scale, rows)
			want := make([]float32, len(w))
			for i, c := range codes {
				pair, n := i/(2*panelCols), i/2%panelCols
				want[(2*pair+i%2)*panelCols+n] = float32(c) * scale[n]
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

// TestInt8Rows holds every set against values worked out in float64.
func TestInt8Rows(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	inf := float32(math.Inf(1))
	for _, n := range []int{1, 7, 8, 16, 31, 100} {
		x := guard.Float32(t, n, guard.After)
		for i := range x {
			x[i] = float32(r.NormFloat64() * 4)
		}
		x[n/2] = 2e-6 // a subnormal half
		for _, limit := range []float32{6, 1, inf} {
			// The halves next to each value, by their definition: 11 significant bits, and no finer than 2⁻²⁴.
			h := make([]float64, n)
			below, all := 0.0, 0.0
			for i, v := range x {
				_, e := math.Frexp(float64(v))
				step := math.Ldexp(1, max(e-11, -24))
				h[i] = math.RoundToEven(float64(v)/step) * step
				all = max(all, math.Abs(h[i]))
				if math.Abs(h[i]) < float64(limit) {
					below = max(below, math.Abs(h[i]))
				}
			}
			scale := float32(127 / max(below, 1e-9))
			for _, set := range sets() {
				t.Run(set.name, func(t *testing.T) {
					set.use(t)
					if b, a := Int8Absmax(x, limit); float64(b) != below || float64(a) != all {
						t.Errorf("%d values, limit %g: largest %g and %g, want %g and %g", n, limit, b, a, below, all)
					}
					q := guard.Float32(t, n, guard.After)
					Int8Quantize(q, x, scale, limit)
					for i, v := range q {
						want := math.RoundToEven(float64(float32(h[i]) * scale))
						if math.Abs(h[i]) >= float64(limit) {
							want = 0
						}
						if float64(v) != want {
							t.Fatalf("value %d of %d, %g: code %g, want %g", i, n, x[i], v, want)
						}
					}
				})
			}
		}
	}
	bad := make([]float32, 40)
	for _, v := range []float32{70000, inf, float32(math.NaN())} {
		for _, at := range []int{3, 35, 39} {
			clear(bad)
			bad[0], bad[at] = 1, v
			for _, set := range sets() {
				set.use(t)
				if b, a := Int8Absmax(bad, inf); b != 1 || !(math.IsInf(float64(a), 0) || math.IsNaN(float64(a))) {
					t.Errorf("%s: %g at %d: largest %g and %g", set.name, v, at, b, a)
				}
			}
		}
	}
}
