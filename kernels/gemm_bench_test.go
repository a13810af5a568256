package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// BenchmarkMatMul is the linear layers of a 135M Llama at 2048 tokens, forward and dX, float32 and bfloat16 weights.
func BenchmarkMatMul(b *testing.B) {
	const m = 2048
	for _, s := range [][2]int{{576, 576}, {1536, 576}, {576, 1536}, {3072, 576}, {192, 576}} { // out, in
		n, k := s[0], s[1]
		r := rand.New(rand.NewPCG(1, 1))
		w, x, y := randn(r, n*k), randn(r, m*k), randn(r, m*n)
		wide := PackPanels(make([]float32, PanelsLen(k, n)), k, n, w, 1, k)
		narrow := PackHalf(make([]uint16, HalfLen(k, n)), k, n, w, 1, k)
		for _, c := range []struct {
			name string
			f    func(p *pool.Pool)
		}{
			{"float32/forward", func(p *pool.Pool) { MatMul(p, m, x, k, wide, 0, y, n) }},
			{"float32/dX", func(p *pool.Pool) { MatMulT(p, m, y, n, wide, 0, x, k) }},
			{"bfloat16/forward", func(p *pool.Pool) { MatMul(p, m, x, k, narrow, 0, y, n) }},
			{"bfloat16/dX", func(p *pool.Pool) { MatMulT(p, m, y, n, narrow, 0, x, k) }},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", n, k, c.name), func(b *testing.B) {
				benchSets(b, func(b *testing.B, p *pool.Pool) {
					clear(x)
					clear(y)
					for b.Loop() {
						c.f(p)
					}
					b.ReportMetric(2*m*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			})
		}
	}
}
