package peft

import (
	"math"
)

// principal is what PSOFT has at one layer: the frozen A [r, in] and B [out, r], and R [r, r] from the parameters.
type principal struct {
	r, in, out int
	scale      float64
	symmetric  bool     // both have the root of the singular values
	rot        *cayley  // nil for a free matrix
	eps        *float64 // bound of the norm of Q
	vb, va     int      // places of the vectors, -1 for none
	decompose  func()
	a, b       []float32
}

// set makes A and B of the singular values and vectors.
func (p *principal) set(d *svd) {
	p.a, p.b = make([]float32, p.r*p.in), make([]float32, p.out*p.r)
	for k, s := range d.s {
		largest := 0.0
		for j := range p.in { // of equal ones the first, whatever the last places are
			if x := d.v.At(j, k); math.Abs(x) > math.Abs(largest)*(1+1e-6) {
				largest = x
			}
		}
		left, right := math.Copysign(1, largest), math.Copysign(s/p.scale, largest)
		if p.symmetric {
			root := math.Sqrt(s / p.scale)
			left, right = math.Copysign(root, largest), math.Copysign(root, largest)
		}
		for j := range p.in {
			p.a[k*p.in+j] = float32(left * d.v.At(j, k))
		}
		for i := range p.out {
			p.b[i*p.r+k] = float32(right * d.u.At(i, k))
		}
	}
}

// theta is the triangle of Q, kept within eps, and the factor that did so.
func (p *principal) theta(v []float32) ([]float32, float64) {
	if p.eps == nil {
		return v, 1
	}
	sum := 0.0
	for _, x := range v {
		sum += 2 * float64(x) * float64(x)
	}
	norm := math.Sqrt(sum)
	if norm <= *p.eps {
		return v, 1
	}
	f := *p.eps / (norm + 1e-12)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(f * float64(x))
	}
	return out, f
}

// matrix is Q, before the vectors.
func (p *principal) matrix(v []float32) []float32 {
	if p.rot == nil {
		return v
	}
	q := make([]float32, p.r*p.r)
	th, _ := p.theta(v)
	p.rot.rotate(q, th)
	return q
}

// vector is entry i of the parameter at, 1 where there is none.
func vector(p [][]float32, at, i int) float32 {
	if at < 0 {
		return 1
	}
	return p[at][i]
}

// make writes A and B·(R - I).
func (p *principal) make(v [][]float32, a, b []float32) {
	if p.a == nil {
		p.decompose()
	}
	copy(a, p.a)
	r := p.r
	q := p.matrix(v[0])
	m := make([]float32, r*r)
	for i := range r {
		for j := range r {
			m[i*r+j] = vector(v, p.vb, i) * q[i*r+j] * vector(v, p.va, j)
		}
		m[i*r+i]--
	}
	product(nil, b, p.b, m, p.out, r, r, 1)
}

// grad takes the gradient of B·(R - I); A has none.
func (p *principal) grad(v, dp [][]float32, _, _, _, db []float32) {
	r := p.r
	dr := make([]float32, r*r)
	productGrad(nil, db, p.b, nil, nil, dr, p.out, r, r)
	q := p.matrix(v[0])
	dq := make([]float32, r*r)
	for i := range r {
		for j := range r {
			b, a, g := vector(v, p.vb, i), vector(v, p.va, j), dr[i*r+j]
			dq[i*r+j] = g * b * a
			if p.vb >= 0 && dp[p.vb] != nil {
				dp[p.vb][i] += float32(g * q[i*r+j] * a)
			}
			if p.va >= 0 && dp[p.va] != nil {
				dp[p.va][j] += float32(g * q[i*r+j] * b)
			}
		}
	}
	if dp[0] == nil {
		return
	}
	if p.rot == nil {
		for i, g := range dq {
			dp[0][i] += g
		}
		return
	}
	th, f := p.theta(v[0])
	if f == 1 {
		p.rot.rotateBack(dp[0], th, dq)
		return
	}
	dth := make([]float32, len(th)) // theta = v·eps/(|v|+1e-12), |v| with both triangles
	p.rot.rotateBack(dth, th, dq)
	norm := *p.eps/f - 1e-12
	dot := 0.0
	for i, g := range dth {
		dot += float64(g) * float64(v[0][i])
	}
	for i, g := range dth {
		dp[0][i] += float32(f*float64(g) - dot*f/(norm+1e-12)*2*float64(v[0][i])/norm)
	}
}
