package peft

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// delta is the form of a method that adds a matrix to a layer's weight: y = base(x) + dropout(x)·ΔWᵀ, with ΔW [out, in] computed from
// the parameters. ΔW is made again in the backward pass; nothing is saved. Where the matrix is a product of two thin ones,
// [factors] costs less.
type delta struct {
	dropout       Float // of the input
	moduleDropout Float // of the whole
	tmp           int   // float32 values that make and grad may use
	// make writes ΔW [out, in]; dw is not cleared before.
	make func(pl *pool.Pool, p [][]float32, dw, tmp []float32)
	// grad adds the gradients of the parameters to dp, whose entries may be nil, given that of ΔW, which it may overwrite.
	grad func(pl *pool.Pool, p, dp [][]float32, g, tmp []float32)
	// stepped, where not nil, changes ΔW and its gradient in training (rank_dropout); it is its own adjoint.
	stepped func(w *nn.Work, dw []float32)
	// makeBias, where not nil, writes what is added to the output beside, db [out]; gradBias adds the parameters' gradients, given its.
	makeBias func(p [][]float32, db, tmp []float32)
	gradBias func(p, dp [][]float32, gb, tmp []float32)
}

func (d *delta) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	x := dropped(b, s.Name, d.dropout, s.In[0])
	op := &deltaOp{delta: d, name: s.Name, in: t.in, out: t.out, banks: newBanks(t.sizes())}
	return b.Apply(op, append([]nn.Ref{s.Out, x}, t.refs(b)...)...)
}

func (d *delta) makesBias() bool { return d.makeBias != nil }

func (d *delta) merge(t *target, p [][]float32, w, bias []float32) error {
	dw := make([]float32, len(w))
	d.make(nil, p, dw, make([]float32, d.tmp))
	if d.makeBias != nil {
		db := make([]float32, t.out)
		d.makeBias(p, db, make([]float32, d.tmp))
		kernels.AddTo(nil, bias, db)
	}
	kernels.AddTo(nil, w, dw)
	return nil
}

// deltaOp is out = y + x·ΔWᵀ. The inputs are y [T, out], x [T, in] and the banks of the parameters.
type deltaOp struct {
	*delta
	name    string
	in, out int
	banks   banks
}

// Plan implements nn.Op.
func (o *deltaOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	p := besidePlan(in, want)
	n := 2*o.in*o.out + o.tmp
	p.Scratch = func(nn.Caps, int) int { return n }
	return p
}

func (o *deltaOp) scratch(w *nn.Work) (dw, g, tmp []float32) {
	n := o.in * o.out
	return w.Scratch[:n], w.Scratch[n : 2*n], w.Scratch[2*n : 2*n+o.tmp]
}

func (o *deltaOp) weight(w *nn.Work, p [][]float32, dw, tmp []float32) {
	o.make(w.Pool, p, dw, tmp)
	if o.stepped != nil && w.Training {
		o.stepped(w, dw)
	}
}

// Forward implements nn.Op.
func (o *deltaOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	if moduleDropped(w, o.name, o.moduleDropout) {
		return
	}
	dw, _, tmp := o.scratch(w)
	for slot, rows := range slots(w.Segments()) {
		o.weight(w, o.banks.values(w.In[2:], slot), dw, tmp)
		for lo, hi := range rows.each {
			kernels.Gemm(w.Pool, hi-lo, o.out, o.in, 1, w.In[1][lo*o.in:], o.in, 1, dw, 1, o.in, 1, w.Out[lo*o.out:], o.out)
		}
		if o.makeBias == nil {
			continue
		}
		db := dw[:o.out]
		o.makeBias(o.banks.values(w.In[2:], slot), db, tmp)
		for lo, hi := range rows.each {
			kernels.AddBias(w.Pool, w.Out[lo*o.out:hi*o.out], hi-lo, o.out, db)
		}
	}
}

// Backward implements nn.Op. The gradient of y is that of the output.
func (o *deltaOp) Backward(w *nn.Work) {
	if len(w.DOut) == 0 || moduleDropped(w, o.name, o.moduleDropout) {
		return
	}
	dw, g, tmp := o.scratch(w)
	params := wantParams(w.DIn[2:])
	for slot, rows := range slots(w.Segments()) {
		p := o.banks.values(w.In[2:], slot)
		if w.DIn[1] != nil {
			o.weight(w, p, dw, tmp)
		}
		if params {
			clear(g)
		}
		for lo, hi := range rows.each {
			if w.DIn[1] != nil { // dx = dy·ΔW
				kernels.Gemm(w.Pool, hi-lo, o.in, o.out, 1, w.DOut[lo*o.out:], o.out, 1, dw, o.in, 1, 1, w.DIn[1][lo*o.in:], o.in)
			}
			if params { // dΔW = dyᵀ·x
				kernels.Gemm(w.Pool, o.out, o.in, hi-lo, 1, w.DOut[lo*o.out:], 1, o.out, w.In[1][lo*o.in:], o.in, 1, 1, g, o.in)
			}
		}
		if params {
			if o.stepped != nil && w.Training {
				o.stepped(w, g)
			}
			o.grad(w.Pool, p, o.banks.grads(w.DIn[2:], slot), g, tmp)
		}
		if params && o.gradBias != nil {
			gb := g[:o.out]
			clear(gb)
			for lo, hi := range rows.each {
				kernels.ColSum(w.Pool, gb, w.DOut[lo*o.out:hi*o.out], hi-lo, o.out)
			}
			o.gradBias(p, o.banks.grads(w.DIn[2:], slot), gb, tmp)
		}
	}
}
