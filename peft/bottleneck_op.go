package peft

import (
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// bottleneckOp is scaling·up(act(down(u))). The inputs are u [T, D] and the banks of the parameters. Rows of slot -1 give zeros. It saves
// what the activation reads and gives, [T, r] both.
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
	rest = w.Scratch
	hd, hu, dhd, dhu = carve(&rest, o.down.own()), carve(&rest, o.up.own()), carve(&rest, o.down.own()), carve(&rest, o.up.own())
	tmp = carve(&rest, max(o.down.tmp(), o.up.tmp()))
	return hd, hu, dhd, dhu, tmp, rest
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
	for slot, rows := range slots(w.Segments()) {
		p := o.banks.values(w.In[1:], slot)
		wd, drs, dcs := o.down.expand(p, hd, tmp)
		wu, urs, ucs := o.up.expand(p, hu, tmp)
		for lo, hi := range rows.each {
			n, z, a, y := hi-lo, w.Saved[0][lo*r:hi*r], w.Saved[1][lo*r:hi*r], w.Out[lo*d:hi*d]
			o.down.apply(w.Pool, n, w.In[0][lo*d:hi*d], p, wd, drs, dcs, z)
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
	params := wantParams(w.DIn[1:])
	for slot, rows := range slots(w.Segments()) {
		p, dp := o.banks.values(w.In[1:], slot), o.banks.grads(w.DIn[1:], slot)
		wd, drs, dcs := o.down.expand(p, hd, tmp)
		wu, urs, ucs := o.up.expand(p, hu, tmp)
		clear(dhd)
		clear(dhu)
		for lo, hi := range rows.each {
			n := hi - lo
			z, a, dy := w.Saved[0][lo*r:hi*r], w.Saved[1][lo*r:hi*r], w.DOut[lo*d:hi*d]
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
			kernels.ActivateBackward(w.Pool, o.act, 0, dz, da, z)
			if params {
				o.up.grad(w.Pool, n, a, dup, dp, dhu)
				o.down.grad(w.Pool, n, w.In[0][lo*d:hi*d], dz, dp, dhd)
			}
			if w.DIn[0] != nil { // du = dz·W_downᵀ
				kernels.Gemm(w.Pool, n, d, r, 1, dz, r, 1, wd, dcs, drs, 1, w.DIn[0][lo*d:], d)
			}
		}
		if params {
			o.down.spread(p, dp, dhd, tmp)
			o.up.spread(p, dp, dhu, tmp)
		}
	}
}
