package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// TestStorages drives the table: a matrix stored and read back in every way, and its products, must agree with its own dense values.
func TestStorages(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, st := range Storages {
		for _, dim := range [][2]int{{50, 64}, {97, 112}, {3, 128}, {500, 192}, {49, 67}} {
			if st.Code != nil && dim[1]%2 == 1 {
				continue // a byte holds two values of a row
			}
			if f := st.Format; f != nil {
				if dim[1]%2 == 1 {
					if _, err := st.Build(dim[0], dim[1], nil, false); err == nil {
						t.Errorf("%s: rows of %d values are stored", st.Name, dim[1])
					}
					continue
				}
				dim[1] = max(f.Block, dim[1]/f.Block*f.Block)
			}
			t.Run(fmt.Sprintf("%s %v", st.Name, dim), func(t *testing.T) {
				out, in := dim[0], dim[1]
				r := rand.New(rand.NewPCG(1, uint64(out)))
				x := make([]float32, out*in)
				for i := range x {
					x[i] = float32(r.NormFloat64())
				}
				// As the file of a Conv1D has it: [in, out].
				turned := make([]float32, out*in)
				for o := range out {
					for i := range in {
						turned[i*out+o] = x[o*in+i]
					}
				}
				w := st.New(out, in, x, in, 1, kernels.WantsHalf())
				defer w.(interface{ Free() }).Free()
				dense := make([]float32, out*in)
				w.Dense(dense)
				other := make([]float32, out*in)
				st.New(out, in, turned, 1, out, st.Format != nil && kernels.WantsHalf()).Dense(other)
				if !slices.Equal(dense, other) {
					t.Fatal("the transposed file gives other values")
				}
				worst := 0.0
				for i := range x {
					worst = max(worst, math.Abs(float64(x[i]-dense[i])))
				}
				if limit := map[string]float64{"float32": 0, "bfloat16": 0.02, "nf4": 0.6, "nf4_dq": 0.6, "fp4": 0.8, "fp4_dq": 0.8,
					"int8": 0.03, "q8_0": 0.03, "q5_0": 0.2, "q5_1": 0.2, "q4_0": 0.4, "q4_1": 0.3, "q6_k": 0.1, "q5_k": 0.2, "q4_k": 0.3,
					"q3_k": 0.8, "q2_k": 2}[st.Name]; worst > limit {
					t.Errorf("a value is off by %g", worst)
				}
				ids := []int32{int32(out - 1), 0}
				rows := make([]float32, 2*in)
				w.Rows(rows, ids)
				if !slices.Equal(rows[:in], dense[(out-1)*in:]) || !slices.Equal(rows[in:], dense[:in]) {
					t.Error("Rows gives other values than Dense")
				}
				// Products: the factors that bfloat16 rounds are rounded before, so that float64 can follow.
				const m = 5
				a, dy := make([]float32, m*in), make([]float32, m*out)
				for _, v := range [][]float32{a, dy} {
					for i := range v {
						v[i] = float32(r.NormFloat64())
					}
					kernels.RoundBF16(nil, v)
				}
				scratch := make([]float32, ForwardScratch(w, m))
				y, dx := make([]float32, m*out), make([]float32, m*in)
				Forward(p, w, m, a, y, scratch)
				Mul(p, w, m, dy, 0, dx, scratch)
				tol := 1e-4
				if st.Name != "float32" && st.Name != "bfloat16" && kernels.WantsHalf() {
					tol = 0.25 // expanded values are rounded to bfloat16
				}
				forward := tol
				if st.Int8 {
					forward = 0.5 // activations are quantised: TestGoldenInt8 has the exact values
				}
				for s := range m {
					for o := range out {
						want := 0.0
						for i := range in {
							want += float64(a[s*in+i]) * float64(dense[o*in+i])
						}
						if d := math.Abs(want - float64(y[s*out+o])); d > forward {
							t.Fatalf("forward [%d, %d] is off by %g", s, o, d)
						}
					}
					for i := range in {
						want := 0.0
						for o := range out {
							want += float64(dy[s*out+o]) * float64(dense[o*in+i])
						}
						if d := math.Abs(want - float64(dx[s*in+i])); d > 2*tol {
							t.Fatalf("dX [%d, %d] is off by %g", s, i, d)
						}
					}
				}
				again := make([]float32, m*out)
				Forward(nil, w, m, a, again, scratch)
				if !slices.Equal(y, again) {
					t.Error("one thread and two differ")
				}
			})
		}
	}
}
