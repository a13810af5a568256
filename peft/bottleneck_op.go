package peft

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// bnLinear is a projection of width in to out whose parameters have indices among those of the bottleneck: a weight [out, in] or, of
// Compacter, a PHM layer; bias is -1 where there is none.
type bnLinear struct {
	in, out      int
	weight, bias int
	phm          *phm
}

// phm is a parametrised hypercomplex multiplication layer: its weight is H [in, out] = Σ_i A_i ⊗ W_i with n rules A_i [n, n] and W_i [a, b],
// in = n·a, out = n·b. rule and w are the indices of one parameter, or of the two that each A_i or W_i is the product of.
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
	return products(p, f.rule, f.n, f.n, 1, f.n, tmp[:f.n*f.n*f.n]), products(p, f.w, f.n, f.a, f.rank, f.b, tmp[f.n*f.n*f.n:][:f.n*f.a*f.b])
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

// bottleneckOp is scaling·up(act(down(u))). The inputs are u [T, D] and the banks of the parameters. Rows of slot -1 give zeros. It saves what
// the activation reads and gives, [T, r] both.
type bottleneckOp struct {
	act      kernels.Act
	down, up bnLinear
	scale    float32
	scaleAt  int // index of the trained scaling [1] or [D], -1 for none
	banks    banks
}

// Plan implements nn.Op.
func (o *bottleneckOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	reads := same(len(in), true)
	reads[0] = wantAny(want, 1)
	rows, d, r := in[0], o.up.out, o.down.out
	thin := nn.Shape{Rows: rows.Rows, Count: rows.Count, Cols: r}
	return nn.Plan{Out: in[0], ReadsIn: reads, Saved: []nn.Shape{thin, thin},
		Scratch: func(c nn.Caps, _ int) int {
			return 2*(o.down.own()+o.up.own()) + max(o.down.tmp(), o.up.tmp()) + 2*rows.At(c)*d + 2*rows.At(c)*r
		}}
}

// work are the parts of the scratch: weights and their gradients, and what is left.
func (o *bottleneckOp) work(w *nn.Work) (hd, hu, dhd, dhu, tmp, rest []float32) {
	s := w.Scratch
	cut := func(n int) []float32 {
		x := s[:n:n]
		s = s[n:]
		return x
	}
	hd, hu, dhd, dhu = cut(o.down.own()), cut(o.up.own()), cut(o.down.own()), cut(o.up.own())
	tmp = cut(max(o.down.tmp(), o.up.tmp()))
	return hd, hu, dhd, dhu, tmp, s
}

// scaled writes y = scaling ⊙ x for rows of x [rows, D]; y may be x.
func (o *bottleneckOp) scaled(p [][]float32, y, x []float32) {
	if o.scaleAt < 0 {
		for i, v := range x {
			y[i] = v * o.scale
		}
		return
	}
	s := p[o.scaleAt]
	for i, v := range x {
		y[i] = v * s[i%len(s)]
	}
}

// Forward implements nn.Op.
func (o *bottleneckOp) Forward(w *nn.Work) {
	clear(w.Out)
	hd, hu, _, _, tmp, _ := o.work(w)
	d, r := o.up.out, o.down.out
	segs := w.Segments()
	for i := range segs {
		if !fresh(segs, i) {
			continue
		}
		p := o.banks.values(w.In[1:], segs[i].Slot)
		wd, drs, dcs := o.down.expand(p, hd, tmp)
		wu, urs, ucs := o.up.expand(p, hu, tmp)
		for _, s := range segs[i:] {
			if s.Slot != segs[i].Slot || s.Start == s.End {
				continue
			}
			n, z, a, y := s.End-s.Start, w.Saved[0][s.Start*r:s.End*r], w.Saved[1][s.Start*r:s.End*r], w.Out[s.Start*d:s.End*d]
			o.down.apply(w.Pool, n, w.In[0][s.Start*d:s.End*d], p, wd, drs, dcs, z)
			kernels.Activate(w.Pool, o.act, a, z)
			o.up.apply(w.Pool, n, a, p, wu, urs, ucs, y)
			o.scaled(p, y, y)
		}
	}
}

// Backward implements nn.Op.
func (o *bottleneckOp) Backward(w *nn.Work) {
	hd, hu, dhd, dhu, tmp, rest := o.work(w)
	d, r := o.up.out, o.down.out
	segs := w.Segments()
	for i := range segs {
		if !fresh(segs, i) {
			continue
		}
		p, dp := o.banks.values(w.In[1:], segs[i].Slot), o.banks.grads(w.DIn[1:], segs[i].Slot)
		wd, drs, dcs := o.down.expand(p, hd, tmp)
		wu, urs, ucs := o.up.expand(p, hu, tmp)
		clear(dhd)
		clear(dhu)
		params := wantParams(w.DIn[1:])
		for _, s := range segs[i:] {
			if s.Slot != segs[i].Slot || s.Start == s.End {
				continue
			}
			n := s.End - s.Start
			z, a, dy := w.Saved[0][s.Start*r:s.End*r], w.Saved[1][s.Start*r:s.End*r], w.DOut[s.Start*d:s.End*d]
			dup, y, da, dz := rest[:n*d], rest[n*d:2*n*d], rest[2*n*d:2*n*d+n*r], rest[2*n*d+n*r:2*n*d+2*n*r]
			if o.scaleAt >= 0 && dp[o.scaleAt] != nil {
				o.up.apply(w.Pool, n, a, p, wu, urs, ucs, y)
				g := dp[o.scaleAt]
				for t := range n {
					for j := range d {
						g[j%len(g)] += float32(dy[t*d+j] * y[t*d+j])
					}
				}
			}
			o.scaled(p, dup, dy)
			kernels.Gemm(w.Pool, n, r, d, 1, dup, d, 1, wu, ucs, urs, 0, da, r) // da = dup·W_upᵀ
			clear(dz)
			kernels.ActivateBackward(w.Pool, o.act, dz, da, z)
			if params {
				o.up.grad(w.Pool, n, a, dup, dp, dhu)
				o.down.grad(w.Pool, n, w.In[0][s.Start*d:s.End*d], dz, dp, dhd)
			}
			if w.DIn[0] != nil { // du = dz·W_downᵀ
				kernels.Gemm(w.Pool, n, d, r, 1, dz, r, 1, wd, dcs, drs, 1, w.DIn[0][s.Start*d:], d)
			}
		}
		if params {
			o.down.spread(p, dp, dhd, tmp)
			o.up.spread(p, dp, dhu, tmp)
		}
	}
}

// wantParams says whether a gradient is wanted of any parameter.
func wantParams(din [][]float32) bool {
	for _, d := range din {
		if d != nil {
			return true
		}
	}
	return false
}
