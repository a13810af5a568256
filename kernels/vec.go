package kernels

import "math"

// vecSet is one implementation of the small loops from which the kernels of this package are built. Slices that a loop
// walks together have equal lengths. Every implementation gives results that depend on its arguments alone.
type vecSet struct {
	// mm computes c (+)= a·b for a [m, k] with element (i, p) at a[i*ars+p*acs], b [k, n] with rows ldb apart and c [m, n]
	// with rows ldc apart. It packs nothing: meant for operands that fit in the cache.
	mm func(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int, acc bool)

	// chain is mm whose sums begin with what c holds: the product over k1+k2 is, bit for bit, that over k1 with the chain over k2 after it.
	// Plain Go sums in groups of four, so there k1 must be a multiple of four.
	chain func(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int)

	sum      func(x []float32) float32
	sumSq    func(x []float32) float32
	sumSqDev func(x []float32, mean float32) float32 // Σ (x-mean)²
	dot      func(x, y []float32) float32
	dot3     func(x, y, w []float32, mean float32) float32 // Σ (x-mean)·y·w
	max      func(x []float32) float32                     // -Inf for none; NaN is passed over
	dot64    func(x, y []float32) float64

	expSum  func(x []float32, scale, sub float32) float32 // Σ exp(x·scale-sub)
	exp     func(x []float32, scale, sub float32) float32 // x = exp(x·scale-sub), returns the sum
	softcap func(x []float32, scale, limit float32)       // x = limit·tanh(x·scale/limit)
	dsoft   func(ds, p []float32, d, scale float32)       // ds = p·(ds-d)·scale

	add   func(y, a, b []float32)
	axpy  func(alpha float32, x, y []float32) // y += alpha·x
	scale func(alpha float32, x []float32)

	norm     func(y, x, w []float32, rstd float32)                    // y = x·rstd·w
	normB    func(y, x, w, b []float32, mean, rstd float32)           // y = (x-mean)·rstd·w + b
	normBack func(dx, dy, w, x []float32, rstd, mean, c1, c0 float32) // dx += dy·w·rstd - (x-mean)·c1 - c0
	normDW   func(dw, dy, x []float32, mean, rstd float32)            // dw += dy·((x-mean)·rstd)
	rotate   func(y1, y2, x1, x2, c, s []float32, sign float32)       // y1 = x1·c - x2·s·sign, y2 = x2·c + x1·s·sign
	act      func(act Act, y, x []float32)                            // y = act(x)
	actBack  func(act Act, dx, dy, x []float32, add bool)             // dx = dy·act'(x), or += where add
	gate     func(act Act, y, g, u []float32)                         // y = act(g)·u
	gateBack func(act Act, dg, du, dy, g, u []float32, add bool)      // dg = dy·u·act'(g), du = dy·act(g), or += where add; nil is left out
}

// plainVec is the plain Go implementation: the definition of what every other one computes, up to rounding.
var plainVec = vecSet{
	mm: mmPlain, chain: chainPlain, sum: sumPlain, sumSq: sumSqPlain, sumSqDev: sumSqDevPlain, dot: dotPlain, dot3: dot3Plain,
	max: maxPlain, dot64: dot64Plain,
	expSum: expSumPlain, exp: expPlain, softcap: softcapPlain, dsoft: dsoftPlain,
	add: addPlain, axpy: axpyPlain, scale: scalePlain,
	norm: normPlain, normB: normBPlain, normBack: normBackPlain, normDW: normDWPlain, rotate: rotatePlain,
	act: actPlain, actBack: actBackPlain, gate: gatePlain, gateBack: gateBackPlain,
}

func mmPlain(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	for i := 0; i < m; i++ {
		ci := c[i*ldc:][:n]
		if !acc {
			clear(ci)
		}
		p := 0
		for ; p+4 <= k; p += 4 {
			a0, a1, a2, a3 := a[i*ars+p*acs], a[i*ars+(p+1)*acs], a[i*ars+(p+2)*acs], a[i*ars+(p+3)*acs]
			b0, b1, b2, b3 := b[p*ldb:][:n], b[(p+1)*ldb:][:n], b[(p+2)*ldb:][:n], b[(p+3)*ldb:][:n]
			for j := range ci {
				ci[j] += float32(a0*b0[j]) + float32(a1*b1[j]) + float32(a2*b2[j]) + float32(a3*b3[j])
			}
		}
		for ; p < k; p++ {
			axpyPlain(a[i*ars+p*acs], b[p*ldb:][:n], ci)
		}
	}
}

func chainPlain(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int) {
	mmPlain(m, n, k, a, ars, acs, b, ldb, c, ldc, true)
}

func sumPlain(x []float32) float32 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return float32(s)
}

func sumSqPlain(x []float32) float32 {
	var s float64
	for _, v := range x {
		s += float64(float64(v) * float64(v))
	}
	return float32(s)
}

func sumSqDevPlain(x []float32, mean float32) float32 {
	var s float64
	for _, v := range x {
		d := float64(v - mean)
		s += float64(d * d)
	}
	return float32(s)
}

func dotPlain(x, y []float32) float32 { return float32(dot64Plain(x, y)) }

func dot64Plain(x, y []float32) float64 {
	var s float64
	y = y[:len(x)]
	for i, v := range x {
		s += float64(float64(v) * float64(y[i]))
	}
	return s
}

func dot3Plain(x, y, w []float32, mean float32) float32 {
	var s float64
	y, w = y[:len(x)], w[:len(x)]
	for i, v := range x {
		s += float64(float64(v-mean) * float64(y[i]*w[i]))
	}
	return float32(s)
}

func maxPlain(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func expSumPlain(x []float32, scale, sub float32) float32 {
	var s float64
	for _, v := range x {
		s += float64(exp32(float32(v*scale) - sub))
	}
	return float32(s)
}

func expPlain(x []float32, scale, sub float32) float32 {
	var s float64
	for i, v := range x {
		e := exp32(float32(v*scale) - sub)
		x[i] = e
		s += float64(e)
	}
	return float32(s)
}

func softcapPlain(x []float32, scale, limit float32) {
	r := scale / limit
	for i, v := range x {
		x[i] = limit * tanh32(float32(v*r))
	}
}

func dsoftPlain(ds, p []float32, d, scale float32) {
	p = p[:len(ds)]
	for i, v := range ds {
		ds[i] = p[i] * (v - d) * scale
	}
}

func addPlain(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func axpyPlain(alpha float32, x, y []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += float32(alpha * x[i])
	}
}

func scalePlain(alpha float32, x []float32) {
	for i := range x {
		x[i] *= alpha
	}
}

func normPlain(y, x, w []float32, rstd float32) {
	x, w = x[:len(y)], w[:len(y)]
	for i := range y {
		y[i] = x[i] * rstd * w[i]
	}
}

func normBPlain(y, x, w, b []float32, mean, rstd float32) {
	x, w, b = x[:len(y)], w[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = float32((x[i]-mean)*rstd*w[i]) + b[i]
	}
}

func normBackPlain(dx, dy, w, x []float32, rstd, mean, c1, c0 float32) {
	dy, w, x = dy[:len(dx)], w[:len(dx)], x[:len(dx)]
	for i := range dx {
		dx[i] += float32(dy[i]*w[i]*rstd) - float32((x[i]-mean)*c1) - c0
	}
}

func normDWPlain(dw, dy, x []float32, mean, rstd float32) {
	dy, x = dy[:len(dw)], x[:len(dw)]
	for i := range dw {
		dw[i] += float32(dy[i] * ((x[i] - mean) * rstd))
	}
}

func rotatePlain(y1, y2, x1, x2, c, s []float32, sign float32) {
	y2, x1, x2, c, s = y2[:len(y1)], x1[:len(y1)], x2[:len(y1)], c[:len(y1)], s[:len(y1)]
	for i := range y1 {
		a, b, si := x1[i], x2[i], s[i]*sign
		y1[i] = float32(a*c[i]) - float32(b*si)
		y2[i] = float32(b*c[i]) + float32(a*si)
	}
}

func actPlain(act Act, y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] = actValue(act, v)
	}
}

func actBackPlain(act Act, dx, dy, x []float32, add bool) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, v := range x {
		_, d := actBoth(act, v)
		put(&dx[i], float32(dy[i]*d), add)
	}
}

func put(to *float32, v float32, add bool) {
	if add {
		v += *to
	}
	*to = v
}

func gatePlain(act Act, y, g, u []float32) {
	g, u = g[:len(y)], u[:len(y)]
	for i := range y {
		y[i] = actValue(act, g[i]) * u[i]
	}
}

func gateBackPlain(act Act, dg, du, dy, g, u []float32, add bool) {
	for i, v := range dy {
		a, d := actBoth(act, g[i])
		if dg != nil {
			put(&dg[i], float32(v*u[i]*d), add)
		}
		if du != nil {
			put(&du[i], float32(v*a), add)
		}
	}
}
