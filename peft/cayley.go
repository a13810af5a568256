package peft

import (
	"sync"
)

// cayley maps a skew-symmetric matrix Q [n, n] to a rotation, in float64: exactly, R = (I-Q)·(I+Q)⁻¹ (Cayley), or by the Neumann series of
// the inverse cut after terms terms (Qiu et al. 2025, arXiv:2506.19847), which has the other sign, R = (I+Q)·(I-Q)⁻¹ ≈ I + 2Q + 2Q² + … .
type cayley struct {
	n       int
	terms   int  // of the Neumann series; 0 is the exact form
	inverse bool // the exact form with the sign of the series
	scratch sync.Pool
}

// work is what one call of the map needs.
type cayleyWork struct{ q, a, b, p []float64 }

func newCayley(n, terms int, inverse bool) *cayley {
	c := &cayley{n: n, terms: terms, inverse: inverse}
	c.scratch.New = func() any {
		w := &cayleyWork{}
		for _, p := range []*[]float64{&w.q, &w.a, &w.b} {
			*p = make([]float64, n*n)
		}
		powers := 1
		if terms > 0 {
			powers = len(neumann(terms))
		}
		w.p = make([]float64, powers*n*n)
		return w
	}
	return c
}

// neumann are the coefficients of the powers of Q, as HF PEFT cuts the series: the last power counts once, and three terms have
// four of them.
func neumann(terms int) []float64 {
	switch {
	case terms <= 1:
		return []float64{1}
	case terms == 2:
		return []float64{1, 2}
	}
	c := []float64{1}
	for range max(terms, 4) - 2 {
		c = append(c, 2)
	}
	return append(c, 1)
}

// skew writes the matrix whose upper triangle is theta [n(n-1)/2], row by row.
func skew[F float32 | float64](q []float64, theta []F, n int) {
	at := 0
	for i := range n {
		q[i*n+i] = 0
		for j := i + 1; j < n; j++ {
			v := float64(theta[at])
			q[i*n+j], q[j*n+i] = v, -v
			at++
		}
	}
}

// sign is that of Q in I ± Q under the inverse.
func (c *cayley) sign() float64 {
	if c.inverse {
		return -1
	}
	return 1
}

// forward fills r [n, n] from w.q and keeps in w.p what backward reads: the inverse, or the partial sums of the series.
func (c *cayley) forward(w *cayleyWork, r []float32) {
	n, nn := c.n, c.n*c.n
	if c.terms == 0 {
		s := c.sign()
		for i := range nn {
			w.a[i] = s * w.q[i]
		}
		for i := range n {
			w.a[i*n+i]++
		}
		invert(w.a, w.p, n) // P = (I+sQ)⁻¹; R = (I-sQ)·P = 2P - I
		for i := range nn {
			r[i] = float32(2 * w.p[i])
		}
		for i := range n {
			r[i*n+i] = float32(2*w.p[i*n+i] - 1)
		}
		return
	}
	k := neumann(c.terms)
	for m := len(k) - 1; m >= 0; m-- { // Horner: H_m = k_m·I + Q·H_{m+1}
		h := w.p[m*nn : (m+1)*nn]
		if m == len(k)-1 {
			clear(h)
		} else {
			mul64(h, w.q, w.p[(m+1)*nn:(m+2)*nn], n, false, false, false)
		}
		for i := range n {
			h[i*n+i] += k[m]
		}
	}
	for i := range nn {
		r[i] = float32(w.p[i])
	}
}

// backward leaves in w.a the gradient of Q for that of R, dr [n, n].
func (c *cayley) backward(w *cayleyWork, dr []float32) {
	n, nn := c.n, c.n*c.n
	if c.terms == 0 { // R = 2P - I: dQ = -2s·Pᵀ·dR·Pᵀ
		for i := range nn {
			w.a[i] = -2 * c.sign() * float64(dr[i])
		}
		mul64(w.b, w.p, w.a, n, true, false, false)
		mul64(w.a, w.b, w.p, n, false, true, false)
		return
	}
	dh, next := w.b, make([]float64, nn)
	for i := range nn {
		dh[i] = float64(dr[i])
	}
	clear(w.a)
	for m := range len(neumann(c.terms)) - 1 {
		mul64(w.a, dh, w.p[(m+1)*nn:(m+2)*nn], n, false, true, true)
		mul64(next, w.q, dh, n, true, false, false)
		copy(dh, next)
	}
}

// rotate fills r [n, n] with the rotation of the upper triangle theta [n(n-1)/2].
func (c *cayley) rotate(r, theta []float32) {
	w := c.scratch.Get().(*cayleyWork)
	defer c.scratch.Put(w)
	skew(w.q, theta, c.n)
	c.forward(w, r)
}

// rotateBack adds to dtheta the gradient for that of the rotation, dr.
func (c *cayley) rotateBack(dtheta, theta, dr []float32) {
	w := c.scratch.Get().(*cayleyWork)
	defer c.scratch.Put(w)
	skew(w.q, theta, c.n)
	c.forward(w, make([]float32, c.n*c.n))
	c.backward(w, dr)
	at := 0
	for i := range c.n {
		for j := i + 1; j < c.n; j++ {
			dtheta[at] += float32(w.a[i*c.n+j] - w.a[j*c.n+i])
			at++
		}
	}
}

// rotateFree does the same for a matrix a [n, n] that need not be skew: Q = (A-Aᵀ)/2.
func (c *cayley) rotateFree(r, a []float32) {
	w := c.scratch.Get().(*cayleyWork)
	defer c.scratch.Put(w)
	halfSkew(w.q, a, c.n)
	c.forward(w, r)
}

// rotateFreeBack adds to da [n, n].
func (c *cayley) rotateFreeBack(da, a, dr []float32) {
	w := c.scratch.Get().(*cayleyWork)
	defer c.scratch.Put(w)
	halfSkew(w.q, a, c.n)
	c.forward(w, make([]float32, c.n*c.n))
	c.backward(w, dr)
	for i := range c.n {
		for j := range c.n {
			da[i*c.n+j] += float32(0.5 * (w.a[i*c.n+j] - w.a[j*c.n+i]))
		}
	}
}

func halfSkew(q []float64, a []float32, n int) {
	for i := range n {
		for j := range n {
			q[i*n+j] = 0.5 * (float64(a[i*n+j]) - float64(a[j*n+i]))
		}
	}
}
