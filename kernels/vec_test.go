package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

type testSet struct {
	set  Set
	name string
	use  func(t testing.TB)
}

// sets are the kernel sets that run here; use switches to one until t ends.
func sets() []testSet {
	var r []testSet
	for _, s := range []Set{Plain, AVX2, AVX512, AVX512BF16, AMX} {
		if Supported(s) {
			r = append(r, testSet{s, s.String(), func(t testing.TB) { t.Cleanup(SetActive(s)) }})
		}
	}
	return r
}

// near reports whether a is b up to a relative difference of tol, values below floor counting as floor.
func near(a, b, tol, floor float64) bool {
	if a == b || a != a && b != b {
		return true
	}
	return math.Abs(a-b) <= tol*math.Max(floor, math.Abs(b))
}

// TestVecSets compares every small loop of every kernel set with its plain twin, at lengths around the vector widths.
func TestVecSets(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			v := vec()
			for _, n := range []int{0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257} {
				r := rand.New(rand.NewPCG(5, uint64(n)))
				buf := make([][]float32, 8)
				for i := range buf {
					buf[i] = randn(r, n+1)[1:]
				}
				scalar := func(name string, got, want float32, abs float64) {
					t.Helper()
					if !near(float64(got), float64(want), 1e-5, abs) {
						t.Errorf("%s of %d: %v, want %v", name, n, got, want)
					}
				}
				x, y, w := buf[0], buf[1], buf[2]
				scalar("sum", v.sum(x), sumPlain(x), 1)
				scalar("sumSq", v.sumSq(x), sumSqPlain(x), 1)
				scalar("sumSqDev", v.sumSqDev(x, 0.7), sumSqDevPlain(x, 0.7), 1)
				scalar("dot", v.dot(x, y), dotPlain(x, y), 1)
				scalar("dot3", v.dot3(x, y, w, 0.3), dot3Plain(x, y, w, 0.3), 1)
				scalar("max", v.max(x), maxPlain(x), 0)
				scalar("expSum", v.expSum(x, 1.5, 0.2), expSumPlain(x, 1.5, 0.2), 0)
				if a, b := v.dot64(x, y), dot64Plain(x, y); !near(a, b, 1e-13, 1) {
					t.Errorf("dot64 of %d: %v, want %v", n, a, b)
				}
				// Elementwise loops: the same call on copies, all arguments compared afterwards.
				loop := func(name string, tol float64, call func(v *vecSet, b [][]float32)) {
					t.Helper()
					one, two := make([][]float32, len(buf)), make([][]float32, len(buf))
					for i := range buf {
						one[i], two[i] = append([]float32(nil), buf[i]...), append([]float32(nil), buf[i]...)
					}
					call(v, one)
					call(&plainVec, two)
					for i := range one {
						for j := range one[i] {
							if !near(float64(one[i][j]), float64(two[i][j]), tol, 1) {
								t.Errorf("%s of %d: argument %d element %d: %v, want %v", name, n, i, j, one[i][j], two[i][j])
								return
							}
						}
					}
				}
				loop("exp", 1e-6, func(v *vecSet, b [][]float32) { v.exp(b[0], 1.5, 0.2) })
				loop("softcap", 1e-6, func(v *vecSet, b [][]float32) { v.softcap(b[0], 3, 2) })
				loop("dsoft", 1e-6, func(v *vecSet, b [][]float32) { v.dsoft(b[0], b[1], 0.3, 0.7) })
				loop("add", 0, func(v *vecSet, b [][]float32) { v.add(b[0], b[1], b[2]) })
				loop("axpy", 1e-6, func(v *vecSet, b [][]float32) { v.axpy(0.3, b[1], b[0]) })
				loop("scale", 0, func(v *vecSet, b [][]float32) { v.scale(0.3, b[0]) })
				loop("norm", 0, func(v *vecSet, b [][]float32) { v.norm(b[0], b[1], b[2], 0.3) })
				loop("normB", 1e-6, func(v *vecSet, b [][]float32) { v.normB(b[0], b[1], b[2], b[3], 0.3, 1.2) })
				loop("normBack", 1e-6, func(v *vecSet, b [][]float32) { v.normBack(b[0], b[1], b[2], b[3], 0.3, 1.2, 0.7, 0.1) })
				loop("normDW", 1e-6, func(v *vecSet, b [][]float32) { v.normDW(b[0], b[1], b[2], 0.3, 1.2) })
				loop("rotate", 1e-6, func(v *vecSet, b [][]float32) { v.rotate(b[0], b[1], b[2], b[3], b[4], b[5], -1) })
				for act := range numActs {
					loop("act "+act.String(), 1e-6, func(v *vecSet, b [][]float32) { v.act(act, b[0], b[1]) })
					loop("gate "+act.String(), 2e-6, func(v *vecSet, b [][]float32) { v.gate(act, b[0], b[1], b[2]) })
					for _, add := range []bool{false, true} {
						name := fmt.Sprintf(" %s, add %v", act, add)
						loop("actBack"+name, 2e-6, func(v *vecSet, b [][]float32) { v.actBack(act, b[0], b[1], b[2], add) })
						loop("gateBack"+name, 3e-6, func(v *vecSet, b [][]float32) { v.gateBack(act, b[0], b[1], b[2], b[3], b[4], add) })
						loop("gateBack dg"+name, 3e-6, func(v *vecSet, b [][]float32) { v.gateBack(act, b[0], nil, b[2], b[3], b[4], add) })
						loop("gateBack du"+name, 3e-6, func(v *vecSet, b [][]float32) { v.gateBack(act, nil, b[1], b[2], b[3], b[4], add) })
					}
				}
			}
		})
	}
}

// TestVecMM compares the product without packing with a float64 sum, transposed and padded operands included.
func TestVecMM(t *testing.T) {
	for _, set := range sets() {
		set.use(t)
		v := vec()
		r := rand.New(rand.NewPCG(6, 6))
		for range 300 {
			m, n, k := r.IntN(20), r.IntN(140), r.IntN(40)
			ars, acs := k+r.IntN(3), 1
			if r.IntN(2) == 0 {
				ars, acs = 1, m+r.IntN(3)
			}
			ldb, ldc := n+r.IntN(5), n+r.IntN(5)
			a, b := randn(r, m*ars+k*acs+1), randn(r, k*ldb)
			c := randn(r, m*ldc)
			acc := r.IntN(2) == 0
			old := append([]float32(nil), c...)
			v.mm(m, n, k, a, ars, acs, b, ldb, c, ldc, acc)
			for i := range m {
				for j := range ldc {
					want := float64(old[i*ldc+j])
					if j < n {
						if !acc {
							want = 0
						}
						for p := range k {
							want += float64(a[i*ars+p*acs]) * float64(b[p*ldb+j])
						}
					}
					if !near(float64(c[i*ldc+j]), want, 2e-6, 10) {
						t.Fatalf("%s: %dx%dx%d at %d,%d: %v, want %v", set.name, m, n, k, i, j, c[i*ldc+j], want)
					}
				}
			}
		}
	}
}

// TestExp checks the exponential of every set over its range and at its edges against math.Exp.
func TestExp(t *testing.T) {
	for _, set := range sets() {
		set.use(t)
		v := vec()
		var x []float32
		for f := -87.3; f < 88.7; f += 0.0137 {
			x = append(x, float32(f))
		}
		y := append([]float32(nil), x...)
		v.exp(y, 1, 0)
		worst := 0.0
		for i := range x {
			want := math.Exp(float64(x[i]))
			ulp := float64(math.Nextafter32(float32(want), float32(math.Inf(1))) - float32(want))
			worst = max(worst, math.Abs(float64(y[i])-want)/ulp)
		}
		if worst > 2 {
			t.Errorf("%s: off by %.2f units in the last place", set.name, worst)
		}
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		edge := []float32{inf, -inf, nan, 0, 100, -200, 88.73, -104.5, -95}
		want := []float32{inf, 0, nan, 1, inf, 0, inf, 0, float32(math.Exp(-95))}
		v.exp(edge, 1, 0)
		for i := range edge {
			if !near(float64(edge[i]), float64(want[i]), 0, 0) && !(i == 8 && near(float64(edge[i]), float64(want[i]), 1e-3, 0)) {
				t.Errorf("%s: edge %d is %v, want %v", set.name, i, edge[i], want[i])
			}
		}
	}
}

// TestChain cuts the inner dimension of a product in pieces: chained, they are the product, bit for bit.
func TestChain(t *testing.T) {
	for _, set := range sets() {
		set.use(t)
		v := vec()
		r := rand.New(rand.NewPCG(6, 7))
		for range 100 {
			m, n, k := 1+r.IntN(20), 1+r.IntN(140), 1+r.IntN(40)
			a, b := randn(r, m*k), randn(r, k*n)
			want, got := make([]float32, m*n), make([]float32, m*n)
			v.mm(m, n, k, a, k, 1, b, n, want, n, false)
			for at := 0; at < k; {
				piece := min(4*(1+r.IntN(4)), k-at)
				v.chain(m, n, piece, a[at:], k, 1, b[at*n:], n, got, n)
				at += piece
			}
			sameBits(t, set.name, got, want)
		}
	}
}
