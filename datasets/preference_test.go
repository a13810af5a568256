package datasets

import (
	"math"
	"testing"
)

// TestMarginLabel: a margin comes back from its label, to the last bit but one, and labels of other meaning are none.
func TestMarginLabel(t *testing.T) {
	for _, m := range []float64{0, 1, -1, 0.5, -0.25, 3, 1e-20, -1e30, math.MaxFloat32, 0.1} {
		l := MarginLabel(m)
		got, ok := marginOf(l)
		if !ok || l >= DesirableAnswer || math.Abs(float64(got)-m) > 2e-7*math.Abs(m) {
			t.Errorf("%g: label %d, margin %g (%v)", m, l, got, ok)
		}
	}
	for _, l := range []int32{0, 7, NoLoss, NewAnswer, UndesirableAnswer, DesirableAnswer} {
		if m, ok := marginOf(l); ok {
			t.Errorf("label %d is a margin of %g", l, m)
		}
	}
}
