package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// TestFewRows: a row has the bits, among as few rows as codes are multiplied where they lie, that it has among more, which expand them
// first. Sizes fill no panel, and chunks of the inner dimension end within a block.
func TestFewRows(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	uses := map[string]func() func(){"amx_plain": func() func() { return kernels.EmulateTiles(kernels.Plain) }}
	for set := kernels.Plain; set.String() != "unknown" && kernels.Supported(set); set++ {
		uses[set.String()] = func() func() { return kernels.SetActive(set) }
		if set == kernels.AVX512 {
			uses["amx_emulated"] = func() func() { return kernels.EmulateTiles(set) }
		}
	}
	for set, use := range uses {
		for i := range Storages {
			st := &Storages[i]
			for _, half := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%s/%v", set, st.Name, half), func(t *testing.T) {
					t.Cleanup(use())
					r := rand.New(rand.NewPCG(uint64(i), 21))
					const out, most = 131, kernels.FewRows + 1
					in := 1472
					if st.Format != nil {
						in = 1280
					}
					v, x := make([]float32, out*in), make([]float32, most*in)
					for i := range v {
						v[i] = float32(r.NormFloat64())
					}
					for i := range x {
						x[i] = float32(math.Max(-5, math.Min(5, r.NormFloat64()))) // no outliers, which rows of LLM.int8 share
					}
					w := st.New(out, in, v, in, 1, half)
					defer w.(interface{ Free() }).Free()
					scratch, want := make([]float32, ForwardScratch(w, most)), make([]float32, most*out)
					Forward(p, w, most, x, want, scratch)
					for _, m := range []int{1, 2, 7, 8, 9, kernels.FewRows} {
						at, got := r.IntN(most-m+1), make([]float32, m*out)
						Forward(p, w, m, x[at*in:], got, scratch)
						for i, y := range got {
							if z := want[at*out+i]; math.Float32bits(y) != math.Float32bits(z) {
								t.Fatalf("%d rows: value %d is %v, among %d rows %v", m, i, y, most, z)
							}
						}
					}
				})
			}
		}
	}
}
