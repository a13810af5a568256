package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// GatedAct computes y = act(g)·u, the gated unit of Shazeer, "GLU Variants Improve Transformer" (SwiGLU with SiLU, GeGLU with GELU).
// y may be g or u.
func GatedAct(p *pool.Pool, act Act, y, g, u []float32) {
	sameLen("GatedAct", len(y), g, u)
	v := vec()
	blocks(p, len(y), elemBlock, func(lo, hi int) { v.gate(act, y[lo:hi], g[lo:hi], u[lo:hi]) })
}

// GatedActBackward computes dg += dy·u·act'(g) and du += dy·act(g). Either of dg and du may be nil.
func GatedActBackward(p *pool.Pool, act Act, dg, du, dy, g, u []float32) {
	sameLen("GatedActBackward", len(dy), g, u)
	if dg != nil {
		sameLen("GatedActBackward", len(dy), dg)
	}
	if du != nil {
		sameLen("GatedActBackward", len(dy), du)
	}
	v := vec()
	blocks(p, len(dy), elemBlock, func(lo, hi int) {
		var a, b []float32
		if dg != nil {
			a = dg[lo:hi]
		}
		if du != nil {
			b = du[lo:hi]
		}
		v.gateBack(act, a, b, dy[lo:hi], g[lo:hi], u[lo:hi])
	})
}

// SwiGLU computes y = silu(g)·u.
func SwiGLU(p *pool.Pool, y, g, u []float32) { GatedAct(p, SiLU, y, g, u) }

// SwiGLUBackward computes dg += dy·u·silu'(g) and du += dy·silu(g). Either of dg and du may be nil.
func SwiGLUBackward(p *pool.Pool, dg, du, dy, g, u []float32) {
	GatedActBackward(p, SiLU, dg, du, dy, g, u)
}
