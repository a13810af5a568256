package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// GatedAct computes y = act(g)·u, the gated unit of Shazeer, "GLU Variants Improve Transformer" (SwiGLU with SiLU, GeGLU with GELU).
// y may be g or u.
func GatedAct(p *pool.Pool, act Act, y, g, u []float32) {
	sameLen("GatedAct", len(y), g, u)
	v := vec()
	blocks(p, len(y), elemBlock, func(lo, hi int) { v.gate(act, y[lo:hi], g[lo:hi], u[lo:hi]) })
}

// GatedActBackward computes dg = beta·dg + dy·u·act'(g) and du = beta·du + dy·act(g). Either of dg and du may be nil. beta is 0 or 1; with
// 0, dg and du are not read.
func GatedActBackward(p *pool.Pool, act Act, beta float32, dg, du, dy, g, u []float32) {
	add := adds("GatedActBackward", beta)
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
		v.gateBack(act, a, b, dy[lo:hi], g[lo:hi], u[lo:hi], add)
	})
}

// adds says whether a kernel adds to what is there.
func adds(name string, beta float32) bool {
	if beta != 0 && beta != 1 {
		panic("kernels: " + name + ": beta must be 0 or 1")
	}
	return beta == 1
}

// SwiGLU computes y = silu(g)·u.
func SwiGLU(p *pool.Pool, y, g, u []float32) { GatedAct(p, SiLU, y, g, u) }

// SwiGLUBackward is GatedActBackward of SwiGLU.
func SwiGLUBackward(p *pool.Pool, beta float32, dg, du, dy, g, u []float32) {
	GatedActBackward(p, SiLU, beta, dg, du, dy, g, u)
}
