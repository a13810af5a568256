package peft

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// topSVD returns the r largest singular values of w [m, n] with their vectors: u [m, r], s [r], v [r, n]. The signs are such that the
// largest entry of each row of v is positive, because LAPACK's differ from library to library. Small matrices are decomposed whole; of large
// ones the leading subspace is iterated from a fixed start (Halko, Martinsson and Tropp 2011, arXiv:0909.4061).
func topSVD(w []float32, m, n, r int) (u, s, v []float32) {
	d := make([]float64, len(w))
	for i, x := range w {
		d[i] = float64(x)
	}
	a := mat.NewDense(m, n, d)
	var left, right mat.Dense
	var svd mat.SVD
	values := make([]float64, min(m, n))
	if q := r + 16; min(m, n) > 512 && 2*q < min(m, n) {
		start := make([]float32, n*q)
		philox.NewKey(0, "svd", "start").FillNormal(start, 0, 1)
		g := make([]float64, len(start))
		for i, x := range start {
			g[i] = float64(x)
		}
		basis := mat.NewDense(n, q, g)
		var y, z mat.Dense
		for range 24 {
			y.Mul(a, basis)
			orthonormal(&y)
			z.Mul(a.T(), &y)
			orthonormal(&z)
			basis.Copy(&z)
		}
		y.Mul(a, basis) // a·V: its decomposition is that of a on the subspace
		var small, rv mat.Dense
		if !svd.Factorize(&y, mat.SVDThin) {
			panic("peft: the singular value decomposition of a weight did not converge; it has values that are not finite")
		}
		values = make([]float64, q)
		svd.Values(values)
		svd.UTo(&left)
		svd.VTo(&small)
		rv.Mul(basis, &small)
		right = rv
	} else {
		if !svd.Factorize(a, mat.SVDThin) {
			panic("peft: the singular value decomposition of a weight did not converge; it has values that are not finite")
		}
		svd.Values(values)
		svd.UTo(&left)
		svd.VTo(&right)
	}
	u, s, v = make([]float32, m*r), make([]float32, r), make([]float32, r*n)
	for k := range r {
		s[k] = float32(values[k])
		largest := 0.0
		for j := range n {
			if x := right.At(j, k); math.Abs(x) > math.Abs(largest)*(1+1e-6) {
				largest = x
			}
		}
		sign := math.Copysign(1, largest)
		for j := range n {
			v[k*n+j] = float32(sign * right.At(j, k))
		}
		for i := range m {
			u[i*r+k] = float32(sign * left.At(i, k))
		}
	}
	return u, s, v
}

// orthonormal replaces the columns of x by an orthonormal basis of them.
func orthonormal(x *mat.Dense) {
	var qr mat.QR
	qr.Factorize(x)
	rows, cols := x.Dims()
	var q mat.Dense
	qr.QTo(&q)
	x.Copy(q.Slice(0, rows, 0, cols))
}
