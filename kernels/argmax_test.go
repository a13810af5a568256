package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestArgmax: the first of the largest values is found by every set, among equal ones, zeros of both signs and infinities, too.
func TestArgmax(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	none := float32(math.Inf(-1))
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for n := 1; n < 200; n++ {
				x := randn(r, n)
				for i := range x {
					switch r.IntN(6) {
					case 0:
						x[i] = none
					case 1:
						x[i] = 3
					case 2:
						x[i] = float32(math.Copysign(0, float64(x[i])))
					}
					if n%5 == 0 {
						x[i] = min(x[i], 0)
					}
					if n%7 == 0 {
						x[i] = none
					}
				}
				want := 0
				for i, v := range x {
					if v > x[want] {
						want = i
					}
				}
				if got := Argmax(x); got != want {
					t.Fatalf("the largest of %v is at %d, want %d", x, got, want)
				}
			}
		})
	}
}
