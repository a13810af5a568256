package torchrand

import (
	"math"
	"slices"
	"testing"
)

// TestGoldenTorch compares with what torch 2.13.0 gives for one generator of seed 777, drawn from in this order.
func TestGoldenTorch(t *testing.T) {
	g := New(777)
	near := func(what string, got []float32, want []float64, tol float64) {
		t.Helper()
		for i, w := range want {
			if d := math.Abs(float64(got[i]) - w); d > tol*max(1, math.Abs(w)) {
				t.Errorf("%s[%d] is %.9g, want %.9g", what, i, got[i], w)
			}
		}
	}
	x := make([]float32, 5)
	g.Uniform(x, -0.3, 0.7)
	near("uniform", x, []float64{-0.2180846929550171, 0.191137433052063, 0.10329329967498779, 0.08591991662979126, 0.5813223123550415}, 0)
	if p := g.Perm(10); !slices.Equal(p, []int{7, 1, 0, 9, 8, 6, 2, 4, 5, 3}) {
		t.Errorf("permutation %v", p)
	}
	for _, want := range []int{36, 3, 62, 13, 50} {
		if v := g.Intn(100); v != want {
			t.Errorf("integer %d, want %d", v, want)
		}
	}
	x = x[:3]
	g.Uniform(x, 0, 1)
	near("rand", x, []float64{0.8874530792236328, 0.9035546183586121, 0.2203560471534729}, 0)
	g.Normal(x, 0, 1)
	near("normal", x, []float64{0.4033307731151581, 1.1588635444641113, 0.37085139751434326}, 1e-7)
	x = make([]float32, 18)
	g.Normal(x, 0, 1)
	near("18 normal", x, []float64{-0.9167771935462952, -0.9495559930801392, 0.9242916107177734, -0.6892744302749634, 3.707211971282959,
		-0.5500710010528564, -0.2960873246192932, 1.769614815711975, -0.7152463793754578, 0.9308868050575256, 0.3805202841758728,
		-0.9822394847869873,
		-0.010609334334731102, -0.15212342143058777, -0.824593186378479, 1.2463310956954956, 1.640684723854065, 1.7244117259979248}, 1e-6)
	x = make([]float32, 4)
	g.Normal(x, 0, 1)
	near("randn", x, []float64{0.5959606170654297, 0.9411692023277283, -0.8900827765464783, 0.27025285363197327}, 1e-7)
}

// TestUniformBF16 has values of torch 2.13.0: torch.empty(5000, dtype=torch.bfloat16).uniform_(-0.3, 0.3,
// generator=torch.Generator().manual_seed(0)), of which the lowest are numbers that were rounded up to the end of the range.
func TestUniformBF16(t *testing.T) {
	x := make([]float32, 5000)
	New(0).UniformBF16(x, -0.3, 0.3)
	want := []float32{-0.0022430419921875, 0.1611328125, -0.2470703125, -0.220703125, -0.11572265625, 0.08056640625,
		-0.005950927734375, 0.23828125}
	if !slices.Equal(x[:len(want)], want) {
		t.Errorf("%v, want %v", x[:len(want)], want)
	}
	low, sum := 0, 0.0
	for _, v := range x {
		if v == -0.30078125 {
			low++
		}
		sum += float64(v)
	}
	if low != 6 || sum != -19.002353191375732 {
		t.Errorf("%d values of the lowest, sum %v; want 6, -19.002353191375732", low, sum)
	}
}
