package peft

import (
	"math"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
)

// spectrum is a matrix [rows, columns] by its largest singular values: U·diag(s)·Vᵀ, and what is left of it.
type spectrum struct {
	s    []float64
	u, v mat.Dense // [rows, len(s)], [columns, len(s)]
	rest float64   // the square of the norm of what is left
}

// exactly is the shorter side of a matrix up to which all of its singular values are computed, whose cost grows with its cube. Tests change
// it.
var exactly = 1024

// The random ranges of larger matrices: vectors beyond the rank that is asked for, and passes over the matrix that turn them to the largest
// singular values.
const (
	sketchMore   = 16
	sketchPasses = 2
)

// allOf has every singular value of d; ok is false where there are none, as values are not finite.
func allOf(d []float64, rows, columns int) (p spectrum, ok bool) {
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(rows, columns, d), mat.SVDThin) {
		return p, false
	}
	p.s = svd.Values(nil)
	svd.UTo(&p.u)
	svd.VTo(&p.v)
	return p, true
}

// largestOf has about the rank largest singular values of d, found in a random range (Halko, Martinsson, Tropp 2011, algorithm 4.4): the
// same numbers each time.
func largestOf(d []float64, rows, columns, rank int) (p spectrum, ok bool) {
	k := min(rank+sketchMore, rows, columns)
	a := make([]float32, len(d))
	for i, v := range d {
		a[i] = float32(v)
	}
	if kernels.NonFinite(a) >= 0 {
		return p, false
	}
	start := make([]float32, columns*k)
	philox.NewKey(0, "spectrum", "range").FillNormal(start, 0, 1)
	times := func(x []float32) []float32 { // a·x
		y := make([]float32, rows*k)
		kernels.Gemm(nil, rows, k, columns, 1, a, columns, 1, x, k, 1, 0, y, k)
		return y
	}
	turned := func(x []float32) []float32 { // aᵀ·x
		y := make([]float32, columns*k)
		kernels.Gemm(nil, columns, k, rows, 1, a, 1, columns, x, k, 1, 0, y, k)
		return y
	}
	q := orthonormal(times(start), rows, k)
	for range sketchPasses {
		q = orthonormal(times(orthonormal(turned(q), columns, k)), rows, k)
	}
	b := turned(q) // of aᵀ = b·qᵀ, [columns, k]
	small, ok := allOf(wide(b), columns, k)
	if !ok {
		return p, false
	}
	p.s, p.v = small.s, small.u
	p.u.Mul(mat.NewDense(rows, k, wide(q)), &small.v)
	kernels.Gemm(nil, rows, columns, k, -1, q, k, 1, b, 1, k, 1, a, columns)
	p.rest = kernels.SumSquares(a)
	return p, true
}

// orthonormal is a basis of the columns of x [rows, k].
func orthonormal(x []float32, rows, k int) []float32 {
	q := blas64.General{Rows: rows, Cols: k, Stride: k, Data: wide(x)}
	tau, size := make([]float64, k), make([]float64, 1)
	lapack64.Geqrf(q, tau, size, -1)
	work := make([]float64, max(int(size[0]), k))
	lapack64.Geqrf(q, tau, work, len(work))
	lapack64.Orgqr(q, tau, size, -1)
	work = make([]float64, max(int(size[0]), k))
	lapack64.Orgqr(q, tau, work, len(work))
	out := make([]float32, rows*k)
	for i, v := range q.Data {
		out[i] = float32(v)
	}
	return out
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// lost is the share of the matrix's norm that its r largest singular values leave.
func (p *spectrum) lost(r int) float64 {
	left, all := p.rest, p.rest
	for i, s := range p.s {
		all += s * s
		if i >= r {
			left += s * s
		}
	}
	return math.Sqrt(left / all)
}

// enough is the smallest rank that leaves no more than asMuch, all that are known where none does.
func (p *spectrum) enough() int {
	r := 1
	for r < len(p.s) && p.lost(r) > asMuch {
		r++
	}
	return r
}
