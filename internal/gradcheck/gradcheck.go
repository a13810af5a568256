// Package gradcheck compares hand-written gradients with central differences, in tests.
package gradcheck

import (
	"math"
	"testing"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// Var is one differentiated array: its values, which Check moves and puts back, and the gradient to be checked.
type Var struct {
	Name       string
	Data, Grad []float32
}

// Check compares, for each variable, the gradient's product with a few fixed directions with the central difference of
// loss along them. The step is such that the loss moves by about a
// hundredth, but small beside the variable's own size, and the tolerance is relative to the larger of the product
// and the gradient's norm, so that float32 rounding at a loss of about one does not decide. loss must be a function of the values alone.
func Check(t testing.TB, loss func() float64, vars []Var, tol float64) {
	t.Helper()
	for _, v := range vars {
		if len(v.Data) != len(v.Grad) {
			t.Errorf("%s: %d values and %d gradients", v.Name, len(v.Data), len(v.Grad))
			continue
		}
		dir := make([]float32, len(v.Data))
		old := append([]float32(nil), v.Data...)
		norm := 0.0
		for _, g := range v.Grad {
			norm += float64(g) * float64(g)
		}
		norm = math.Sqrt(norm)
		if norm == 0 {
			t.Errorf("%s: the gradient is zero everywhere", v.Name)
		}
		for k := range 3 {
			philox.NewKey(uint64(k), "gradcheck", v.Name).FillNormal(dir, 0, 1)
			if k == 2 && norm > 0 { // along the gradient: the largest product there is
				for i, g := range v.Grad {
					dir[i] = float32(float64(g) / norm * math.Sqrt(float64(len(dir))))
				}
			}
			want, size := 0.0, 0.0
			for i, d := range dir {
				want += float64(d) * float64(v.Grad[i])
				size = max(size, math.Abs(float64(old[i])))
			}
			h := min(0.02/max(norm, math.Abs(want), 1e-3), 0.04*max(size, 0.25))
			at := func(s float64) float64 {
				for i := range dir {
					v.Data[i] = old[i] + float32(s*h)*dir[i]
				}
				return loss()
			}
			// Fourth order: the truncation error of a large step does not hide a wrong gradient.
			got := (8*(at(0.5)-at(-0.5)) - (at(1) - at(-1))) / (6 * h)
			copy(v.Data, old)
			if diff := math.Abs(got - want); !(diff <= tol*max(math.Abs(want), norm)) {
				t.Errorf("%s, direction %d: gradient gives %.6g, differences %.6g (norm %.3g)", v.Name, k, want, got, norm)
			}
		}
	}
}
