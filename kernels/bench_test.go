package kernels

import (
	"math/rand/v2"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

func benchSets(b *testing.B, f func(b *testing.B, p *pool.Pool)) {
	for _, set := range sets() {
		b.Run(set.name, func(b *testing.B) {
			set.use(b)
			p := pool.New(0)
			defer p.Close()
			f(b, p)
		})
	}
}

// BenchmarkAttention is four documents of 512 rows, 9 heads, 3 key/value heads of 64; GFLOP/s counts the causal half.
func BenchmarkAttention(b *testing.B) {
	const docs, n, H, KV, hd = 4, 512, 9, 3, 64
	a := Attn{Heads: H, KVHeads: KV, HeadDim: hd, Scale: 0.125}
	r := rand.New(rand.NewPCG(1, 1))
	T := docs * n
	q, k, v, dout := randn(r, T*H*hd), randn(r, T*KV*hd), randn(r, T*KV*hd), randn(r, T*H*hd)
	out, lse := make([]float32, len(q)), make([]float32, T*H)
	dq, dk, dv := make([]float32, len(q)), make([]float32, len(k)), make([]float32, len(v))
	var ds []Doc
	for i := range docs {
		ds = append(ds, Doc{int32(i * n), int32((i + 1) * n), 0, -1, 0})
	}
	flop := float64(docs*H) * n * (n + 1) / 2 * hd * 2 // one product
	b.Run("forward", func(b *testing.B) {
		benchSets(b, func(b *testing.B, p *pool.Pool) {
			for b.Loop() {
				a.Forward(p, out, lse, q, k, v, ds, nil, nil, 0, nil)
			}
			b.ReportMetric(2*flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	})
	b.Run("backward", func(b *testing.B) {
		benchSets(b, func(b *testing.B, p *pool.Pool) {
			a.Forward(p, out, lse, q, k, v, ds, nil, nil, 0, nil)
			for b.Loop() {
				a.Backward(p, dq, dk, dv, nil, nil, dout, q, k, v, out, lse, ds, nil, nil, 0, nil)
			}
			b.ReportMetric(5*flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	})
}

// BenchmarkElementwise is one layer of the same model: 2048 rows of 576, gated units of 1536.
func BenchmarkElementwise(b *testing.B) {
	const T, d, ff = 2048, 576, 1536
	r := rand.New(rand.NewPCG(2, 2))
	x, dy, w := randn(r, T*d), randn(r, T*d), randn(r, d)
	y, dx, dw, rstd := make([]float32, T*d), make([]float32, T*d), make([]float32, d), make([]float32, T)
	g, u, h, dh, dg, du := randn(r, T*ff), randn(r, T*ff), make([]float32, T*ff), randn(r, T*ff), make([]float32, T*ff),
		make([]float32, T*ff)
	pos := make([]int32, T)
	for i := range pos {
		pos[i] = int32(i % 512)
	}
	inv := make([]float64, 32)
	for i := range inv {
		inv[i] = 1 / float64(i+1)
	}
	table := NewRopeTable(inv, 512, 1)
	for _, c := range []struct {
		name string
		f    func(p *pool.Pool)
	}{
		{"RMSNorm", func(p *pool.Pool) { RMSNorm(p, y, rstd, x, w, T, d, 1e-5, false) }},
		{"RMSNormBackward", func(p *pool.Pool) { RMSNormBackward(p, dx, nil, dy, x, w, rstd, T, d, false) }},
		{"RMSNormBackwardDW", func(p *pool.Pool) { RMSNormBackward(p, dx, dw, dy, x, w, rstd, T, d, false) }},
		{"LayerNorm", func(p *pool.Pool) { LayerNorm(p, y, rstd, rstd, x, w, w, T, d, 1e-5) }},
		{"SwiGLU", func(p *pool.Pool) { SwiGLU(p, h, g, u) }},
		{"SwiGLUBackward", func(p *pool.Pool) { SwiGLUBackward(p, 0, dg, du, dh, g, u) }},
		{"GELU", func(p *pool.Pool) { Activate(p, GELU, h, g) }},
		{"Rope", func(p *pool.Pool) { Rope(p, y, x, T, 9, 64, 64, pos, table, false, false) }},
		{"SoftmaxRows", func(p *pool.Pool) { SoftmaxRows(p, h, T, ff, ff, nil) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchSets(b, func(b *testing.B, p *pool.Pool) {
				RMSNorm(p, y, rstd, x, w, T, d, 1e-5, false)
				for b.Loop() {
					c.f(p)
				}
			})
		})
	}
}
