package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// rowKernels is the table of what computes each row of its result from that row of its input: what the contract of bits holds to it (see
// the package's comment). Each draws sizes and weights from r and gives the lengths of a row of x and y, and the kernel.
var rowKernels = []struct {
	name string
	make func(r *rand.Rand) (in, out int, run func(p *pool.Pool, m int, x, y []float32))
}{
	{"MatMul float32", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b := PackPanels(make([]float32, PanelsLen(k, n)), k, n, randn(r, k*n), n, 1)
		return k, n, func(p *pool.Pool, m int, x, y []float32) { MatMul(p, m, x, k, b, 0, y, n) }
	}},
	{"MatMul bfloat16", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b := PackHalf(make([]uint16, HalfLen(k, n)), k, n, randn(r, k*n), n, 1)
		return k, n, func(p *pool.Pool, m int, x, y []float32) { MatMul(p, m, x, k, b, 0, y, n) }
	}},
	{"MatMul float32, added", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b := PackPanels(make([]float32, PanelsLen(k, n)), k, n, randn(r, k*n), n, 1)
		return k + n, n, func(p *pool.Pool, m int, x, y []float32) {
			for i := range m {
				copy(y[i*n:(i+1)*n], x[i*(k+n)+k:])
			}
			MatMul(p, m, x, k+n, b, 1, y, n)
		}
	}},
	{"MatMul bfloat16, added", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b := PackHalf(make([]uint16, HalfLen(k, n)), k, n, randn(r, k*n), n, 1)
		return k + n, n, func(p *pool.Pool, m int, x, y []float32) {
			for i := range m {
				copy(y[i*n:(i+1)*n], x[i*(k+n)+k:])
			}
			MatMul(p, m, x, k+n, b, 1, y, n)
		}
	}},
	{"MatMulT float32", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b := PackPanels(make([]float32, PanelsLen(n, k)), n, k, randn(r, k*n), k, 1)
		return k, n, func(p *pool.Pool, m int, x, y []float32) { MatMulT(p, m, x, k, b, 0, y, n) }
	}},
	{"MatMulT bfloat16", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b := PackHalf(make([]uint16, HalfLen(n, k)), n, k, randn(r, k*n), k, 1)
		return k, n, func(p *pool.Pool, m int, x, y []float32) { MatMulT(p, m, x, k, b, 0, y, n) }
	}},
	{"Gemm", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := productSize(r)
		b, rs, cs := randn(r, k*n), n, 1
		if r.IntN(2) == 0 {
			rs, cs = 1, k
		}
		return k, n, func(p *pool.Pool, m int, x, y []float32) { Gemm(p, m, n, k, 0.7, x, k, 1, b, rs, cs, 0, y, n) }
	}},
	{"Gemm of few columns", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		k, n := 1+r.IntN(900), 1+r.IntN(20)
		b := randn(r, k*n)
		return k, n, func(p *pool.Pool, m int, x, y []float32) { Gemm(p, m, n, k, 1, x, k, 1, b, 1, k, 0, y, n) }
	}},
	{"RMSNorm", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		d := 1 + r.IntN(300)
		w := randn(r, d)
		return d, d, func(p *pool.Pool, m int, x, y []float32) { RMSNorm(p, y, nil, x, w, m, d, 1e-5, false) }
	}},
	{"LayerNorm", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		d := 1 + r.IntN(300)
		w, b := randn(r, d), randn(r, d)
		return d, d, func(p *pool.Pool, m int, x, y []float32) { LayerNorm(p, y, nil, nil, x, w, b, m, d, 1e-5) }
	}},
	{"AddBias", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		d := 1 + r.IntN(300)
		w := randn(r, d)
		return d, d, func(p *pool.Pool, m int, x, y []float32) {
			copy(y, x[:m*d])
			AddBias(p, y, m, d, w)
		}
	}},
	{"Activation and GatedAct", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		d, act := 1+r.IntN(100), []Act{SiLU, GELU, GELUTanh, QuickGELU}[r.IntN(4)]
		return d, d, func(p *pool.Pool, m int, x, y []float32) {
			Activate(p, act, y[:m*d], x[:m*d])
			GatedAct(p, act, y[:m*d], y[:m*d], x[:m*d])
		}
	}},
	{"SoftCap", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		d := 1 + r.IntN(100)
		return d, d, func(p *pool.Pool, m int, x, y []float32) {
			copy(y, x[:m*d])
			SoftCap(p, y[:m*d], 2)
		}
	}},
	{"Rope", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		heads, half, rest := 1+r.IntN(3), 1+r.IntN(40), r.IntN(5)
		freq := make([]float64, half)
		for i := range freq {
			freq[i] = r.Float64()
		}
		table, hd := NewRopeTable(freq, 1000, 1), 2*half+rest
		return heads * hd, heads * hd, func(p *pool.Pool, m int, x, y []float32) {
			Rope(p, y, x, m, heads, hd, 2*half, ofRows(x, m, heads*hd, 1000), table, false, false)
		}
	}},
	{"LogSoftmaxPick and SoftmaxRows", func(r *rand.Rand) (int, int, func(*pool.Pool, int, []float32, []float32)) {
		d := 1 + r.IntN(300)
		return d, d + 2, func(p *pool.Pool, m int, x, y []float32) {
			logp, lse, s := make([]float32, m), make([]float32, m), append([]float32(nil), x[:m*d]...)
			LogSoftmaxPick(p, logp, lse, x, m, d, d, ofRows(x, m, d, d))
			SoftmaxRows(p, s, m, d, d, nil)
			for i := range m {
				copy(y[i*(d+2):], s[i*d:(i+1)*d])
				y[i*(d+2)+d], y[i*(d+2)+d+1] = logp[i], lse[i]
			}
		}
	}},
}

// productSize draws the inner dimension, often more than a chunk of 640 and seldom a multiple of anything, and the number of columns.
func productSize(r *rand.Rand) (k, n int) {
	k, n = 1+r.IntN(700), 1+r.IntN(250)
	if r.IntN(3) == 0 {
		k, n = 600+r.IntN(800), 1+r.IntN(100)
	}
	if r.IntN(3) == 0 {
		k, n = (k+15)&^15, (n+15)&^15
	}
	return k, n
}

// ofRows are numbers below n that each row of x decides.
func ofRows(x []float32, m, d, n int) []int32 {
	out := make([]int32, m)
	for i := range out {
		out[i] = int32(math.Float32bits(x[i*d]) % uint32(n))
	}
	return out
}

// rowCounts are numbers of rows: what decoding and training have, and sizes around those of tiles, blocks and units.
var rowCounts = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 47, 63, 64, 65, 95, 96, 97, 127, 128, 129, 255, 513, 1025,
	2048}

// TestContractOfBits holds every kernel of rows to the contract, with every set: a row's bits do not depend on the number of rows, on its
// place among them, or on threads.
func TestContractOfBits(t *testing.T) {
	for _, set := range productSets() {
		for at, k := range rowKernels {
			if set.set == AMX && !Supported(AMX) && !strings.HasPrefix(k.name, "MatMul") {
				continue // emulated are products only
			}
			t.Run(set.name+"/"+k.name, func(t *testing.T) {
				set.use(t)
				r := rand.New(rand.NewPCG(20, uint64(at)))
				rounds := 4
				if testing.Short() {
					rounds = 2
				}
				for round := range rounds {
					in, out, run := k.make(r)
					holdRows(t, r, in, out, set.set == Plain || round > 0, run)
				}
			})
		}
	}
}

// holdRows computes 97 rows one by one and then in batches of random rows.
func holdRows(t *testing.T, r *rand.Rand, in, out int, small bool, run func(p *pool.Pool, m int, x, y []float32)) {
	const rows = 97
	two := pool.New(2)
	defer two.Close()
	x, want := randn(r, rows*in), make([]float32, rows*out)
	for i := range rows {
		run(nil, 1, x[i*in:(i+1)*in], want[i*out:(i+1)*out])
	}
	counts := []int{rowCounts[r.IntN(10)], rowCounts[r.IntN(len(rowCounts)-3)], 1 + r.IntN(200), 1 + r.IntN(32)}
	if !small {
		counts = append(counts, rowCounts[len(rowCounts)-1-r.IntN(3)])
	}
	for _, m := range counts {
		for threads, p := range []*pool.Pool{nil, two} {
			from := make([]int, m)
			xs, ys := make([]float32, m*in), make([]float32, m*out)
			for i := range from {
				from[i] = r.IntN(rows)
				copy(xs[i*in:(i+1)*in], x[from[i]*in:])
			}
			run(p, m, xs, ys)
			for i, f := range from {
				if d := differ(ys[i*out:(i+1)*out], want[f*out:(f+1)*out]); d != "" {
					t.Fatalf("row %d of %d, of %d values from %d, with %d threads: %s than alone", i, m, out, in, threads+1, d)
				}
			}
		}
	}
}

// differ says where two slices have other bits, "" where they have the same.
func differ(got, want []float32) string {
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			return fmt.Sprintf("value %d is %v (%#x), other bits than %v (%#x)", i, got[i], math.Float32bits(got[i]), want[i],
				math.Float32bits(want[i]))
		}
	}
	return ""
}
