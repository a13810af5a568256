package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// TestContractOfBits holds the products of every storage to the contract, with every kernel set: a row's bits do not depend on the number
// of rows, on its place among them, or on threads. Rows have outliers, each in columns of its own, some in a column of many rows.
func TestContractOfBits(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for set := kernels.Plain; set.String() != "unknown" && kernels.Supported(set); set++ {
		for at := range Storages {
			st := &Storages[at]
			for _, half := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%s/%v", set, st.Name, half), func(t *testing.T) {
					t.Cleanup(kernels.SetActive(set))
					r := rand.New(rand.NewPCG(uint64(at), 20))
					for range 2 {
						in, out := 64*(1+r.IntN(14)), 1+r.IntN(150)
						if st.Format != nil {
							in = st.Format.Block * (1 + r.IntN(900/st.Format.Block))
						}
						v := make([]float32, in*out)
						for i := range v {
							v[i] = float32(r.NormFloat64())
						}
						w := st.New(out, in, v, in, 1, half)
						holdRows(t, r, two, in, out, w, ForwardRows)
						if !st.Int8 { // whose rows have a part in each other
							holdRows(t, r, two, in, out, w, Forward)
						}
						holdRows(t, r, two, out, in, w, func(p *pool.Pool, w Weight, m int, x, y, scratch []float32) {
							Mul(p, w, m, x, 0, y, scratch)
						})
						if f, ok := w.(interface{ Free() }); ok {
							f.Free()
						}
					}
				})
			}
		}
	}
}

// holdRows computes rows one by one and then in batches of random rows.
func holdRows(t *testing.T, r *rand.Rand, two *pool.Pool, in, out int, w Weight,
	product func(p *pool.Pool, w Weight, m int, x, y, scratch []float32)) {
	const rows = 24
	x, want := make([]float32, rows*in), make([]float32, rows*out)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range rows {
		for range r.IntN(9) {
			x[i*in+r.IntN(in)] = 6 + 10*r.Float32()
		}
		if i%3 == 0 {
			x[i*in+in/2] = -20
		}
		product(nil, w, 1, x[i*in:(i+1)*in], want[i*out:(i+1)*out], make([]float32, ForwardScratch(w, 1)))
	}
	for _, m := range []int{2, 1 + r.IntN(32), 1 + r.IntN(32), 33 + r.IntN(200)} {
		for _, p := range []*pool.Pool{nil, two} {
			from, xs, ys := make([]int, m), make([]float32, m*in), make([]float32, m*out)
			for i := range from {
				from[i] = r.IntN(rows)
				copy(xs[i*in:(i+1)*in], x[from[i]*in:])
			}
			product(p, w, m, xs, ys, make([]float32, ForwardScratch(w, m)))
			for i, f := range from {
				for j, y := range ys[i*out : (i+1)*out] {
					if z := want[f*out+j]; math.Float32bits(y) != math.Float32bits(z) {
						t.Fatalf("row %d of %d with %d threads: value %d is %v, alone %v", i, m, p.Threads(), j, y, z)
					}
				}
			}
		}
	}
}
