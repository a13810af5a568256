package peft

import (
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// factors is the form of a method whose change of the weight is a product of two thin matrices computed from the parameters:
// y = base(x) + scale·(dropout(x)·Aᵀ)·Bᵀ with A [r, in] and B [out, r]. They are made again in the backward pass.
type factors struct {
	r             int
	scale         float32
	dropout       Float // of the input
	moduleDropout Float // of the whole
	// make writes A and B; they are not cleared before.
	make func(p [][]float32, a, b []float32)
	// grad adds the gradients of the parameters to dp, whose entries may be nil, given those of A and B. a and b are what make wrote.
	grad func(p, dp [][]float32, a, b, da, db []float32)
}

func (f *factors) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	x := dropped(b, s.Name, f.dropout, s.In[0])
	op := &factorsOp{factors: f, name: s.Name, in: t.in, out: t.out, banks: newBanks(t.sizes())}
	return b.Apply(op, append([]nn.Ref{s.Out, x}, t.refs(b)...)...)
}

func (f *factors) merge(t *target, p [][]float32, w, _ []float32) error {
	a, b := make([]float32, f.r*t.in), make([]float32, t.out*f.r)
	f.make(p, a, b)
	kernels.Gemm(nil, t.out, t.in, f.r, f.scale, b, f.r, 1, a, t.in, 1, 1, w, t.in)
	return nil
}

// factorsOp is out = y + scale·(x·Aᵀ)·Bᵀ. The inputs are y [T, out], x [T, in] and the banks of the parameters.
type factorsOp struct {
	*factors
	name    string
	in, out int
	banks   banks
}

// Plan implements nn.Op.
func (o *factorsOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	p := besidePlan(in, want)
	rows := in[1]
	p.Saved = []nn.Shape{{Rows: rows.Rows, Count: rows.Count, Cols: o.r}}
	p.Scratch = func(c nn.Caps, _ int) int { return 2*o.r*(o.in+o.out) + rows.At(c)*o.r }
	return p
}

func (o *factorsOp) scratch(w *nn.Work) (a, b, da, db, du []float32) {
	na, nb := o.r*o.in, o.out*o.r
	s := w.Scratch
	return s[:na], s[na : na+nb], s[na+nb : 2*na+nb], s[2*na+nb : 2*(na+nb)], s[2*(na+nb):]
}

// Forward implements nn.Op.
func (o *factorsOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	if moduleDropped(w, o.name, o.moduleDropout) {
		return
	}
	a, b, _, _, _ := o.scratch(w)
	u := w.Saved[0]
	for slot, rows := range slots(w.Segments()) {
		o.make(o.banks.values(w.In[2:], slot), a, b)
		for lo, hi := range rows.each {
			n, us := hi-lo, u[lo*o.r:hi*o.r]
			kernels.Gemm(w.Pool, n, o.r, o.in, 1, w.In[1][lo*o.in:], o.in, 1, a, 1, o.in, 0, us, o.r)
			kernels.Gemm(w.Pool, n, o.out, o.r, o.scale, us, o.r, 1, b, 1, o.r, 1, w.Out[lo*o.out:], o.out)
		}
	}
}

// Backward implements nn.Op. The gradient of y is that of the output.
func (o *factorsOp) Backward(w *nn.Work) {
	if len(w.DOut) == 0 || moduleDropped(w, o.name, o.moduleDropout) {
		return
	}
	a, b, da, db, du := o.scratch(w)
	params := wantParams(w.DIn[2:])
	for slot, rows := range slots(w.Segments()) {
		p := o.banks.values(w.In[2:], slot)
		o.make(p, a, b)
		clear(da)
		clear(db)
		for lo, hi := range rows.each {
			n, dy, dus := hi-lo, w.DOut[lo*o.out:], du[lo*o.r:]
			kernels.Gemm(w.Pool, n, o.r, o.out, o.scale, dy, o.out, 1, b, o.r, 1, 0, dus, o.r) // du = scale·dy·B
			if params {
				kernels.Gemm(w.Pool, o.out, o.r, n, o.scale, dy, 1, o.out, w.Saved[0][lo*o.r:], o.r, 1, 1, db, o.r) // dB = scale·dyᵀ·u
				kernels.Gemm(w.Pool, o.r, o.in, n, 1, dus, 1, o.r, w.In[1][lo*o.in:], o.in, 1, 1, da, o.in)         // dA = duᵀ·x
			}
			if w.DIn[1] != nil { // dx = du·A
				kernels.Gemm(w.Pool, n, o.in, o.r, 1, dus, o.r, 1, a, o.in, 1, 1, w.DIn[1][lo*o.in:], o.in)
			}
		}
		if params {
			o.grad(p, o.banks.grads(w.DIn[2:], slot), a, b, da, db)
		}
	}
}
