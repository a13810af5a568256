package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// householder is the map y = x·Hᵀ = x - (x·U)·Mᵀ·Uᵀ of rows of in values.
type householder struct {
	in, r int
	gs    bool
}

// prepare writes the unit columns U [in, r], Mᵀ [r, r] and the columns' lengths.
func (h *householder) prepare(_ *pool.Pool, p [][]float32, prep, _ []float32) {
	u, m, norms := h.parts(prep)
	h.unit(p[0], u, norms)
	mm := h.middle(u)
	for i := range h.r {
		for j := range h.r {
			m[i*h.r+j] = float32(mm[j*h.r+i])
		}
	}
}

func (h *householder) parts(prep []float32) (u, m, norms []float32) {
	n := h.in * h.r
	return prep[:n], prep[n : n+h.r*h.r], prep[n+h.r*h.r:]
}

// unit divides the columns of v by their lengths.
func (h *householder) unit(v, u, norms []float32) {
	sums := make([]float64, h.r)
	for i := range h.in {
		for k, x := range v[i*h.r : (i+1)*h.r] {
			sums[k] += float64(x) * float64(x)
		}
	}
	for k, s := range sums {
		norms[k] = float32(math.Sqrt(s))
	}
	for i := range u {
		u[i] = v[i] / norms[i%h.r]
	}
}

// middle is M [r, r].
func (h *householder) middle(u []float32) []float64 {
	r := h.r
	a, m := make([]float64, r*r), make([]float64, r*r)
	for t := range h.in {
		row := u[t*r : (t+1)*r]
		for i, x := range row {
			for j := i; j < r; j++ {
				a[i*r+j] += float64(x) * float64(row[j])
			}
		}
	}
	for i := range r {
		if !h.gs {
			a[i*r+i] = 0.5 // of length 1
			continue
		}
		for j := i; j < r; j++ {
			a[i*r+j] /= 2
			a[j*r+i] = a[i*r+j]
		}
	}
	invert(a, m, r)
	return m
}

func (h *householder) transform() transform {
	in, r := h.in, h.r
	return transform{
		reads: true, prep: in*r + r*r + r, tmp: 4 * blockRows * r, prepare: h.prepare,
		forward: func(pl *pool.Pool, n int, x, y []float32, _ [][]float32, prep, tmp []float32) {
			copy(y, x)
			h.add(pl, n, x, y, prep, tmp, false)
		},
		backward: func(pl *pool.Pool, n int, x, dy, dx []float32, _, dp [][]float32, prep, dprep, tmp []float32) {
			if dx != nil {
				kernels.AddTo(pl, dx, dy)
				h.add(pl, n, dy, dx, prep, tmp, true)
			}
			if dp[0] == nil {
				return
			}
			u, m, _ := h.parts(prep)
			du, dm, _ := h.parts(dprep)
			a, b, am, bm := tmp[:blockRows*r], tmp[blockRows*r:2*blockRows*r], tmp[2*blockRows*r:3*blockRows*r],
				tmp[3*blockRows*r:4*blockRows*r]
			for lo := 0; lo < n; lo += blockRows {
				k := min(blockRows, n-lo)
				xs, ds := x[lo*in:], dy[lo*in:]
				kernels.Gemm(pl, k, r, in, 1, xs, in, 1, u, r, 1, 0, a, r)    // a = x·U
				kernels.Gemm(pl, k, r, in, 1, ds, in, 1, u, r, 1, 0, b, r)    // b = dy·U
				kernels.Gemm(pl, k, r, r, 1, b, r, 1, m, 1, r, 0, bm, r)      // b·M
				kernels.Gemm(pl, k, r, r, 1, a, r, 1, m, r, 1, 0, am, r)      // a·Mᵀ
				kernels.Gemm(pl, in, r, k, -1, xs, 1, in, bm, r, 1, 1, du, r) // dU -= xᵀ·b·M + dyᵀ·a·Mᵀ
				kernels.Gemm(pl, in, r, k, -1, ds, 1, in, am, r, 1, 1, du, r)
				kernels.Gemm(pl, r, r, k, -1, a, 1, r, b, r, 1, 1, dm, r) // dMᵀ -= aᵀ·b
			}
		},
		finish: h.finish,
	}
}

// add adds to y the map of x less x, or of its adjoint.
func (h *householder) add(pl *pool.Pool, n int, x, y, prep, tmp []float32, adjoint bool) {
	in, r := h.in, h.r
	u, m, _ := h.parts(prep)
	br, bc := r, 1
	if adjoint {
		br, bc = 1, r
	}
	for lo := 0; lo < n; lo += blockRows {
		k := min(blockRows, n-lo)
		a, am := tmp[:blockRows*r], tmp[blockRows*r:2*blockRows*r]
		kernels.Gemm(pl, k, r, in, 1, x[lo*in:], in, 1, u, r, 1, 0, a, r)
		kernels.Gemm(pl, k, r, r, 1, a, r, 1, m, br, bc, 0, am, r)
		kernels.Gemm(pl, k, in, r, -1, am, r, 1, u, 1, r, 1, y[lo*in:], in)
	}
}

// finish goes from the gradients of U and Mᵀ through M(UᵀU) and the lengths to that of the parameter.
func (h *householder) finish(_ *pool.Pool, p, dp [][]float32, prep, dprep, _ []float32) {
	if dp[0] == nil {
		return
	}
	r := h.r
	u, _, norms := h.parts(prep)
	du, dm, _ := h.parts(dprep)
	m := h.middle(u)
	g, t, ds := make([]float64, r*r), make([]float64, r*r), make([]float64, r*r)
	for i := range r {
		for j := range r {
			g[i*r+j] = float64(dm[j*r+i]) // dM
		}
	}
	mul64(t, m, g, r, true, false, false)
	mul64(ds, t, m, r, false, true, false) // dM⁻¹ = -Mᵀ·dM·Mᵀ
	for i := range r {
		for j := range r {
			switch {
			case h.gs:
				ds[i*r+j] *= -0.5
			case j > i:
				ds[i*r+j] = -ds[i*r+j]
			default:
				ds[i*r+j] = 0
			}
		}
	}
	row, dots := make([]float64, r), make([]float64, r)
	full := make([]float64, len(u))
	for i := range h.in {
		ui := u[i*r : (i+1)*r]
		for k := range row {
			row[k] = float64(du[i*r+k])
		}
		for a, x := range ui { // dU += U·(dS + dSᵀ)
			for k := range row {
				row[k] += float64(x) * (ds[a*r+k] + ds[k*r+a])
			}
		}
		copy(full[i*r:], row)
		for k := range row {
			dots[k] += row[k] * float64(ui[k])
		}
	}
	for i := range full { // u = v/|v|
		k := i % r
		dp[0][i] += float32((full[i] - float64(u[i])*dots[k]) / float64(norms[k]))
	}
}

// fold replaces the rows of W by those of W·H.
func (h *householder) fold(t *target, p [][]float32, w, _ []float32) error {
	h.mapRows(t.out, p, w, true)
	return nil
}

// unfold undoes fold: H⁻¹ = Hᵀ.
func (h *householder) unfold(t *target, p [][]float32, w, _ []float32) { h.mapRows(t.out, p, w, false) }

func (h *householder) mapRows(n int, p [][]float32, w []float32, adjoint bool) {
	prep := make([]float32, h.in*h.r+h.r*h.r+h.r)
	h.prepare(nil, p, prep, nil)
	h.add(nil, n, append([]float32(nil), w...), w, prep, make([]float32, 2*blockRows*h.r), adjoint)
}
