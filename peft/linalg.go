package peft

import (
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/torchrand"
	"github.com/adaptflow/adaptflow/kernels"
)

// svd is a truncated singular value decomposition U·S·Vᵀ, singular values falling.
type svd struct {
	u, v *mat.Dense // [out, r], [in, r]
	s    []float64
}

// factors are √S·Vᵀ [r, in] and U·√S [out, r], for an s whose values are roots already.
func (d *svd) factors() (a, b []float32) {
	out, r := d.u.Dims()
	in, _ := d.v.Dims()
	a, b = make([]float32, r*in), make([]float32, out*r)
	for k := range r {
		for i := range in {
			a[k*in+i] = float32(d.s[k] * d.v.At(i, k))
		}
		for i := range out {
			b[i*r+k] = float32(d.u.At(i, k) * d.s[k])
		}
	}
	return a, b
}

// svdOf decomposes w [out, in] to rank r: exactly with niter below 0, else at random with so many subspace iterations, as
// torch.svd_lowrank.
func svdOf(out, in int, w []float32, r, niter int, key philox.Key) *svd {
	m := mat.NewDense(out, in, nil)
	for i := range out {
		row := m.RawRowView(i)
		for j := range row {
			row[j] = float64(w[i*in+j])
		}
	}
	if niter < 0 {
		return thinSVD(m, r)
	}
	g := make([]float32, in*r)
	key.FillNormal(g, 0, 1)
	x := mat.NewDense(in, r, nil)
	for i, v := range g {
		x.Set(i/r, i%r, float64(v))
	}
	return subspaceSVD(m, x, niter)
}

// thinSVD is the first r terms of m's decomposition.
func thinSVD(m *mat.Dense, r int) *svd {
	var f mat.SVD
	if !f.Factorize(m, mat.SVDThin) {
		panic("peft: a singular value decomposition does not converge: the weight has a value that is not finite")
	}
	var u, v mat.Dense
	f.UTo(&u)
	f.VTo(&v)
	rows, _ := u.Dims()
	cols, _ := v.Dims()
	return &svd{u: mat.DenseCopyOf(u.Slice(0, rows, 0, r)), v: mat.DenseCopyOf(v.Slice(0, cols, 0, r)), s: f.Values(nil)[:r]}
}

// orthogonalColumns is Q [rows, cols] of m = Q·R by Householder reflections, of the first rows columns where there are more.
func orthogonalColumns(m *mat.Dense) *mat.Dense {
	rows, cols := m.Dims()
	if rows < cols { // Q is that of the first rows columns
		m, cols = mat.DenseCopyOf(m.Slice(0, rows, 0, rows)), rows
	}
	q := mat.DenseCopyOf(m)
	raw := q.RawMatrix()
	tau := make([]float64, cols)
	work := make([]float64, 1)
	lapack64.Geqrf(raw, tau, work, -1)
	work = make([]float64, int(work[0]))
	lapack64.Geqrf(raw, tau, work, len(work))
	lapack64.Orgqr(raw, tau, work[:1], -1)
	work = make([]float64, max(int(work[0]), cols))
	lapack64.Orgqr(raw, tau, work, len(work))
	return q
}

// svdLowRank is torch.svd_lowrank(m, q, niter) after torch.manual_seed(seed); double says that torch has m in float64, for which it draws
// other numbers.
func svdLowRank(m *mat.Dense, q, niter int, seed uint64, double bool) *svd {
	rows, cols := m.Dims()
	if rows < cols {
		d := svdLowRank(mat.DenseCopyOf(m.T()), q, niter, seed, double)
		d.u, d.v = d.v, d.u
		return d
	}
	g := make([]float64, cols*q)
	if double {
		torchrand.New(seed).Normal64(g, 0, 1)
	} else {
		single := make([]float32, len(g))
		torchrand.New(seed).Normal(single, 0, 1)
		for i, v := range single {
			g[i] = float64(v)
		}
	}
	return subspaceSVD(m, mat.NewDense(cols, q, g), niter)
}

// subspaceSVD decomposes m on the subspace that m·x spans after niter iterations (Halko et al. 2011).
func subspaceSVD(m, x *mat.Dense, niter int) *svd {
	var y mat.Dense
	y.Mul(m, x)
	q := orthogonalColumns(&y)
	for range niter {
		var z, t mat.Dense
		z.Mul(m.T(), q)
		t.Mul(m, orthogonalColumns(&z))
		q = orthogonalColumns(&t)
	}
	var b, u mat.Dense
	b.Mul(q.T(), m)
	r, c := b.Dims()
	d := thinSVD(&b, min(r, c))
	u.Mul(q, d.u)
	d.u = &u
	return d
}

// product is c [m, n] = scale·a [m, k]·b [k, n].
func product(pl *pool.Pool, c, a, b []float32, m, k, n int, scale float32) {
	kernels.Gemm(pl, m, n, k, scale, a, k, 1, b, n, 1, 0, c, n)
}

// productGrad adds to da and db, where not nil, the gradients of a and b, given that of their product g [m, n].
func productGrad(pl *pool.Pool, g, a, b, da, db []float32, m, k, n int) {
	if da != nil {
		kernels.Gemm(pl, m, k, n, 1, g, n, 1, b, 1, n, 1, da, k)
	}
	if db != nil {
		kernels.Gemm(pl, k, n, m, 1, a, 1, k, g, n, 1, 1, db, n)
	}
}

// multiply is z = x ⊙ y.
func multiply(z, x, y []float32) {
	for i, v := range x {
		z[i] = v * y[i]
	}
}
