package peft

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// transform is a map of rows that keeps their width: out[t] = f(x[t]; parameters). [inputTransform] puts one before a frozen layer,
// [outputTransform] after it. Segments of slot -1 pass through.
type transform struct {
	dropout Float // of the input
	reads   bool  // backward reads x
	prep    int   // values that prepare makes of the parameters once for each slot, such as rotation matrices; 0 for none
	tmp     int   // float32 values that the functions may use
	// prepare writes prep from the parameters.
	prepare func(pl *pool.Pool, p [][]float32, prep, tmp []float32)
	// forward writes n rows of y from those of x, which never overlap.
	forward func(pl *pool.Pool, n int, x, y []float32, p [][]float32, prep, tmp []float32)
	// backward adds to dx where it is not nil, to dp, whose entries may be nil, and to dprep, given the gradient dy of n rows.
	// x is nil unless reads.
	backward func(pl *pool.Pool, n int, x, dy, dx []float32, p, dp [][]float32, prep, dprep, tmp []float32)
	// finish adds what the gradient of prep gives to dp.
	finish func(pl *pool.Pool, p, dp [][]float32, prep, dprep, tmp []float32)
	// stepped, where not nil, changes prep in training (multiplicative dropout) and, back, the gradient of prep.
	stepped func(w *nn.Work, prep []float32, back bool)
}

// apply adds the map of x to a program.
func (f *transform) apply(b *nn.Builder, t *target, x nn.Ref) nn.Ref {
	op := &transformOp{transform: f, cols: b.Shape(x).Cols, banks: newBanks(t.sizes())}
	return b.Apply(op, append([]nn.Ref{x}, t.refs(b)...)...)
}

// inputTransform applies the frozen layer to a transformed input: y = base(f(dropout(x))).
type inputTransform struct {
	transform
	fold   func(t *target, p [][]float32, w, bias []float32) error // merge
	unfold func(t *target, p [][]float32, w, bias []float32)       // undoes fold, of a map that is not a small change; nil for others
}

func (f *inputTransform) unmerge(t *target, p [][]float32, w, bias []float32) {
	if f.unfold != nil && w != nil {
		f.unfold(t, p, w, nil)
	}
}

func (f *inputTransform) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	in := append([]nn.Ref{}, s.In...)
	in[0] = f.apply(b, t, dropped(b, s.Name, f.dropout, in[0]))
	return b.Apply(s.Op, in...)
}

func (f *inputTransform) merge(t *target, p [][]float32, w, bias []float32) error {
	return f.fold(t, p, w, bias)
}

// outputTransform transforms the frozen layer's output: y = f(base(x)), the base's bias included.
type outputTransform struct {
	transform
	fold func(t *target, p [][]float32, w, bias []float32) error // merge
	// undoes fold of either, where the other is nil; nil where fold is a small change
	unfold func(t *target, p [][]float32, w, bias []float32)
}

func (f *outputTransform) unmerge(t *target, p [][]float32, w, bias []float32) {
	if f.unfold != nil {
		f.unfold(t, p, w, bias)
	}
}

func (f *outputTransform) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	return f.apply(b, t, s.Out)
}

func (f *outputTransform) merge(t *target, p [][]float32, w, bias []float32) error {
	return f.fold(t, p, w, bias)
}

// transformOp is a transform as an op. The inputs are x [T, cols] and the banks of the parameters.
type transformOp struct {
	*transform
	cols  int
	banks banks
}

// Plan implements nn.Op.
func (o *transformOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	reads := same(len(in), true)
	reads[0] = o.reads
	n := 2*o.prep + o.tmp
	return nn.Plan{Out: in[0], ReadsIn: reads, Scratch: func(nn.Caps, int) int { return n }}
}

func (o *transformOp) scratch(w *nn.Work) (prep, dprep, tmp []float32) {
	return w.Scratch[:o.prep], w.Scratch[o.prep : 2*o.prep], w.Scratch[2*o.prep : 2*o.prep+o.tmp]
}

// Forward implements nn.Op.
func (o *transformOp) Forward(w *nn.Work) {
	prep, _, tmp := o.scratch(w)
	for _, s := range w.Segments() {
		if s.Slot < 0 {
			copy(w.Out[s.Start*o.cols:s.End*o.cols], w.In[0][s.Start*o.cols:s.End*o.cols])
		}
	}
	for slot, rows := range slots(w.Segments()) {
		p := o.banks.values(w.In[1:], slot)
		if o.prepare != nil {
			o.prepare(w.Pool, p, prep, tmp)
		}
		if o.stepped != nil {
			o.stepped(w, prep, false)
		}
		for start, end := range rows.each {
			lo, hi := start*o.cols, end*o.cols
			o.forward(w.Pool, end-start, w.In[0][lo:hi], w.Out[lo:hi], p, prep, tmp)
		}
	}
}

// Backward implements nn.Op.
func (o *transformOp) Backward(w *nn.Work) {
	prep, dprep, tmp := o.scratch(w)
	for _, s := range w.Segments() {
		if s.Slot < 0 && w.DIn[0] != nil {
			d := w.DIn[0][s.Start*o.cols : s.End*o.cols]
			for k, g := range w.DOut[s.Start*o.cols : s.End*o.cols] {
				d[k] += g
			}
		}
	}
	for slot, rows := range slots(w.Segments()) {
		p, dp := o.banks.values(w.In[1:], slot), o.banks.grads(w.DIn[1:], slot)
		if o.prepare != nil {
			o.prepare(w.Pool, p, prep, tmp)
		}
		if o.stepped != nil {
			o.stepped(w, prep, false)
		}
		clear(dprep)
		for start, end := range rows.each {
			lo, hi := start*o.cols, end*o.cols
			var x, dx []float32
			if o.reads {
				x = w.In[0][lo:hi]
			}
			if w.DIn[0] != nil {
				dx = w.DIn[0][lo:hi]
			}
			o.backward(w.Pool, end-start, x, w.DOut[lo:hi], dx, p, dp, prep, dprep, tmp)
		}
		if o.stepped != nil {
			o.stepped(w, dprep, true)
		}
		if o.finish != nil {
			o.finish(w.Pool, p, dp, prep, dprep, tmp)
		}
	}
}
