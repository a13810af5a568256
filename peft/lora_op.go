package peft

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Adapt implements nn.Adapter.
func (l *lora) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	p := l.pairs[s.Name]
	if p == nil || p.kind != s.Kind {
		return l.extra.apply(b, s).Out
	}
	if p.base != nil {
		s = p.base.apply(b, s)
	}
	if p.dora != nil {
		return l.adaptDora(b, s, p)
	}
	y := l.extra.apply(b, s).Out
	if s.Kind == nn.KindHead { // its op has the pair
		return y
	}
	if lay, _ := layoutOf(s.Op); lay.Lookup {
		op := &loraEmbeddingOp{v: lay.Rows, d: lay.Cols, r: p.r, scale: float32(p.scale) * lay.Scale, positions: !lay.Vocab}
		return b.Apply(op, y, p.a.param(b), p.b.param(b))
	}
	op := &loraOp{name: s.Name, in: p.a.Cols, out: p.b.Rows, r: p.r, scale: float32(p.scale), dropout: float32(l.cfg.LoraDropout),
		invocation: l.cfg.AloraInvocationTokens}
	in := []nn.Ref{y, s.In[0], p.a.param(b), p.b.param(b)}
	if p.bias != nil {
		in = append(in, p.bias.param(b))
	}
	return b.Apply(op, in...)
}

// loraOp is out = y + scale·(dropout(x)·Aᵀ)·Bᵀ (Hu et al. 2021). The inputs are the base's output y [T, out], its input x [T, in], the
// banks of A [r, in] and B [out, r], and with lora_bias that of the bias [1, out], which is scaled too. Token ranges use the slot of their
// segment; slot -1 passes y through. With invocation only the rows that invoked gives are the adapter's.
type loraOp struct {
	name    string // site, keys the dropout mask
	in, out int
	r       int
	scale   float32
	dropout float32

	invocation []int32
}

// each calls f for the ranges of rows that a slot of the adapter acts on.
func (o *loraOp) each(w *nn.Work, f func(start, end, slot int)) {
	acts := func(start, end, slot int) {
		if slot >= 0 && start < end {
			f(start, end, slot)
		}
	}
	if o.invocation == nil {
		w.EachSegment(acts)
		return
	}
	invoked(w, o.invocation, acts)
}

// parallel is each for work whose ranges are independent of each other: where a step has many of them, they run side by side, each on one
// thread. A product's sums do not depend on its threads, so that the values are the same. Of work that adds to a slot's gradient, slots
// must ascend.
func (o *loraOp) parallel(w *nn.Work, f func(p *pool.Pool, start, end, slot int)) {
	segments := w.Segments()
	side := o.invocation == nil && len(segments) >= 2*w.Pool.Threads() && w.Pool.Threads() > 1
	for i := 1; i < len(segments) && side; i++ {
		side = segments[i].Slot > segments[i-1].Slot
	}
	if !side {
		o.each(w, func(start, end, slot int) { f(w.Pool, start, end, slot) })
		return
	}
	w.Pool.Run(len(segments), func(i int) {
		if g := segments[i]; g.Slot >= 0 && g.Start < g.End {
			f(nil, g.Start, g.End, g.Slot)
		}
	})
}

// everywhere says whether some slot acts on each of t rows.
func (o *loraOp) everywhere(w *nn.Work, t int) bool {
	if o.invocation != nil {
		return false
	}
	w.EachSegment(func(start, end, slot int) {
		if slot >= 0 {
			t -= end - start
		}
	})
	return t == 0
}

// Plan implements nn.Op.
func (o *loraOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	p := nn.Plan{
		Out:     in[0],
		ReadsIn: []bool{false, want[2], want[1], want[1] || want[2], false}[:len(in)],
		Saved:   []nn.Shape{{Rows: in[1].Rows, Count: in[1].Count, Cols: o.r}},
		Pass:    []bool{true, false, false, false, false}[:len(in)],
		InPlace: []bool{true, false, false, false, false}[:len(in)],
		Sets:    []bool{false, true, false, false, false}[:len(in)],
	}
	rows := in[1]
	p.Scratch = func(c nn.Caps, _ int) int {
		n := rows.At(c) * o.r
		if o.dropout > 0 {
			n += rows.At(c) * o.in
		}
		return n
	}
	return p
}

// ByText implements nn.Textual.
func (o *loraOp) ByText(training bool) bool { return o.invocation != nil || training && o.dropout > 0 }

// input returns x, or dropout(x) in tmp.
func (o *loraOp) input(w *nn.Work, x, tmp []float32) []float32 {
	if o.dropout == 0 || !w.Training {
		return x
	}
	nn.DropoutRows(w, o.name, o.dropout, tmp[:len(x)], x)
	return tmp[:len(x)]
}

// Forward implements nn.Op.
func (o *loraOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	x := o.input(w, w.In[1], w.Scratch)
	u := w.Saved[0]
	o.parallel(w, func(p *pool.Pool, start, end, slot int) {
		n := end - start
		a, b := nn.Bank(w.In[2], slot, o.r*o.in), nn.Bank(w.In[3], slot, o.out*o.r)
		us, y := u[start*o.r:end*o.r], w.Out[start*o.out:end*o.out]
		kernels.Gemm(p, n, o.r, o.in, 1, x[start*o.in:], o.in, 1, a, 1, o.in, 0, us, o.r)
		kernels.Gemm(p, n, o.out, o.r, o.scale, us, o.r, 1, b, 1, o.r, 1, y, o.out)
		if len(w.In) > 4 {
			bias := nn.Bank(w.In[4], slot, o.out)
			for t := range n {
				kernels.Axpy(nil, o.scale, bias, y[t*o.out:(t+1)*o.out])
			}
		}
	})
}

// Backward implements nn.Op. The gradient of y is that of the output.
func (o *loraOp) Backward(w *nn.Work) {
	t := len(w.DOut) / o.out
	if t == 0 {
		return
	}
	du, tmp := w.Scratch[:t*o.r], w.Scratch[t*o.r:]
	dropped := o.dropout > 0 && w.Training
	if w.DIn[3] != nil { // dB = scale·dyᵀ·u
		o.parallel(w, func(p *pool.Pool, start, end, slot int) {
			kernels.Gemm(p, o.out, o.r, end-start, o.scale, w.DOut[start*o.out:], 1, o.out, w.Saved[0][start*o.r:], o.r, 1, 1,
				nn.Bank(w.DIn[3], slot, o.out*o.r), o.r)
		})
	}
	if len(w.In) > 4 && w.DIn[4] != nil {
		o.parallel(w, func(p *pool.Pool, start, end, slot int) {
			db := nn.Bank(w.DIn[4], slot, o.out)
			for i := start; i < end; i++ {
				kernels.Axpy(nil, o.scale, w.DOut[i*o.out:(i+1)*o.out], db)
			}
		})
	}
	if w.DIn[1] == nil && w.DIn[2] == nil {
		return
	}
	o.parallel(w, func(p *pool.Pool, start, end, slot int) { // du = scale·dy·B
		kernels.Gemm(p, end-start, o.r, o.out, o.scale, w.DOut[start*o.out:], o.out, 1,
			nn.Bank(w.In[3], slot, o.out*o.r), o.r, 1, 0, du[start*o.r:], o.r)
	})
	if w.DIn[2] != nil { // dA = duᵀ·dropout(x)
		x := o.input(w, w.In[1], tmp)
		o.parallel(w, func(p *pool.Pool, start, end, slot int) {
			kernels.Gemm(p, o.r, o.in, end-start, 1, du[start*o.r:], 1, o.r, x[start*o.in:], o.in, 1, 1,
				nn.Bank(w.DIn[2], slot, o.r*o.in), o.in)
		})
	}
	if w.DIn[1] == nil {
		return
	}
	dx, beta := w.DIn[1], w.Beta(1)
	if dropped {
		dx, beta = tmp[:t*o.in], 0
	}
	if beta == 0 && !o.everywhere(w, t) {
		clear(dx) // rows that no slot acts on contribute nothing
	}
	o.parallel(w, func(p *pool.Pool, start, end, slot int) { // dx = mask(du·A)
		kernels.Gemm(p, end-start, o.in, o.r, 1, du[start*o.r:], o.r, 1, nn.Bank(w.In[2], slot, o.r*o.in), o.in, 1, beta,
			dx[start*o.in:], o.in)
	})
	if dropped {
		if w.Beta(1) == 0 {
			nn.DropoutRows(w, o.name, o.dropout, w.DIn[1], dx)
			return
		}
		nn.DropoutRows(w, o.name, o.dropout, dx, dx)
		kernels.AddTo(w.Pool, w.DIn[1], dx)
	}
}
