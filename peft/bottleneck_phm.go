package peft

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// bnLinear is a projection of width in to out whose parameters have indices among those of the bottleneck: a weight [out, in] or, of
// Compacter, a PHM layer; bias is -1 where there is none.
type bnLinear struct {
	in, out      int
	weight, bias int
	phm          *phm
}

// phm is a parametrised hypercomplex multiplication layer: its weight is H [in, out] = Σ_i A_i ⊗ W_i with n rules A_i [n, n] and W_i [a,
// b], in = n·a, out = n·b. rule and w are the indices of one parameter, or of the two that each A_i or W_i is the product of.
type phm struct {
	n, a, b, rank int
	rule, w       []int
}

// own is the size of the weight and of its gradient in scratch: a plain weight is used where it is.
func (l *bnLinear) own() int {
	if l.phm == nil {
		return 0
	}
	return l.in * l.out
}

// tmp is the scratch of expand and spread.
func (l *bnLinear) tmp() int {
	if l.phm == nil {
		return 0
	}
	n := l.phm.n
	return 2 * (n*n*n + n*l.phm.a*l.phm.b)
}

// expand gives the weight as a matrix [in, out] with its strides; h is room for a PHM layer's.
func (l *bnLinear) expand(p [][]float32, h, tmp []float32) (w []float32, rs, cs int) {
	if l.phm == nil {
		return p[l.weight], 1, l.in
	}
	f := l.phm
	rules, ws := f.parts(p, tmp)
	clear(h)
	f.each(func(k, row, col int) { // H[i·a+q, s·b+t] += A[i, s]·W[q, t]
		scale := rules[k*f.n*f.n+row*f.n+col]
		for q := range f.a {
			dst := h[(row*f.a+q)*l.out+col*f.b:][:f.b]
			for t, v := range ws[(k*f.a+q)*f.b:][:f.b] {
				dst[t] += float32(scale * v)
			}
		}
	})
	return h, l.out, 1
}

// each calls f for every value of every rule.
func (f *phm) each(do func(k, row, col int)) {
	for k := range f.n {
		for row := range f.n {
			for col := range f.n {
				do(k, row, col)
			}
		}
	}
}

// parts are all A_i [n, n, n] and W_i [n, a, b].
func (f *phm) parts(p [][]float32, tmp []float32) (rules, ws []float32) {
	return products(p, f.rule, f.n, f.n, 1, f.n, tmp[:f.n*f.n*f.n]),
		products(p, f.w, f.n, f.a, f.rank, f.b, tmp[f.n*f.n*f.n:][:f.n*f.a*f.b])
}

// products are n matrices [rows, cols]: a parameter as it is, or the products of two, [n, rows, rank] and [n, rank, cols], in dst.
func products(p [][]float32, at []int, n, rows, rank, cols int, dst []float32) []float32 {
	if len(at) == 1 {
		return p[at[0]]
	}
	for k := range n {
		kernels.Gemm(nil, rows, cols, rank, 1, p[at[0]][k*rows*rank:], rank, 1, p[at[1]][k*rank*cols:], cols, 1, 0, dst[k*rows*cols:], cols)
	}
	return dst
}

// productsGrad adds the gradients of what products made, g, to those of its parameters.
func productsGrad(p, dp [][]float32, at []int, n, rows, rank, cols int, g []float32) {
	if len(at) == 1 {
		if dp[at[0]] != nil {
			kernels.AddTo(nil, dp[at[0]], g)
		}
		return
	}
	for k := range n {
		gk := g[k*rows*cols:]
		if d := dp[at[0]]; d != nil {
			kernels.Gemm(nil, rows, rank, cols, 1, gk, cols, 1, p[at[1]][k*rank*cols:], 1, cols, 1, d[k*rows*rank:], rank)
		}
		if d := dp[at[1]]; d != nil {
			kernels.Gemm(nil, rank, cols, rows, 1, p[at[0]][k*rows*rank:], 1, rank, gk, cols, 1, 1, d[k*rank*cols:], cols)
		}
	}
}

// spread adds what the gradient of a PHM layer's weight, dh [in, out], gives to the parameters.
func (l *bnLinear) spread(p, dp [][]float32, dh, tmp []float32) {
	if l.phm == nil {
		return
	}
	f := l.phm
	rules, ws := f.parts(p, tmp)
	nr, nw := f.n*f.n*f.n, f.n*f.a*f.b
	gr, gw := tmp[nr+nw:2*nr+nw], tmp[2*nr+nw:2*(nr+nw)]
	clear(gr)
	clear(gw)
	f.each(func(k, row, col int) {
		i := k*f.n*f.n + row*f.n + col
		sum := 0.0
		for q := range f.a {
			g, w, d := dh[(row*f.a+q)*l.out+col*f.b:][:f.b], ws[(k*f.a+q)*f.b:][:f.b], gw[(k*f.a+q)*f.b:][:f.b]
			for t, v := range g {
				sum += float64(v) * float64(w[t])
				d[t] += float32(rules[i] * v)
			}
		}
		gr[i] = float32(sum)
	})
	productsGrad(p, dp, f.rule, f.n, f.n, 1, f.n, gr)
	productsGrad(p, dp, f.w, f.n, f.a, f.rank, f.b, gw)
}

// apply writes y [rows, out] = x·W + b.
func (l *bnLinear) apply(pl *pool.Pool, rows int, x []float32, p [][]float32, w []float32, rs, cs int, y []float32) {
	kernels.Gemm(pl, rows, l.out, l.in, 1, x, l.in, 1, w, rs, cs, 0, y, l.out)
	if l.bias >= 0 {
		kernels.AddBias(pl, y, rows, l.out, p[l.bias])
	}
}

// grad adds xᵀ·dy to the gradient of the weight, in place or in dh for a PHM layer, and the sum of dy to the bias's.
func (l *bnLinear) grad(pl *pool.Pool, rows int, x, dy []float32, dp [][]float32, dh []float32) {
	if l.bias >= 0 && dp[l.bias] != nil {
		kernels.ColSum(pl, dp[l.bias], dy, rows, l.out)
	}
	if l.phm != nil {
		kernels.Gemm(pl, l.in, l.out, rows, 1, x, 1, l.in, dy, l.out, 1, 1, dh, l.out)
	} else if d := dp[l.weight]; d != nil {
		kernels.Gemm(pl, l.out, l.in, rows, 1, dy, 1, l.out, x, l.in, 1, 1, d, l.in)
	}
}
