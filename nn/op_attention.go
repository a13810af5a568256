package nn

import "github.com/adaptflow/adaptflow/kernels"

// Rope rotates each head of x [T, Heads·HeadDim] by its token's position (Su et al. 2021).
type Rope struct {
	Heads, HeadDim, RotaryDim int
	Table                     *kernels.RopeTable
	Interleaved               bool
}

// Plan implements Op.
func (r *Rope) Plan(in []Shape, want []bool) Plan { return turnPlan(in) }

func (r *Rope) turn(w *Work, y, x []float32, inverse bool) {
	kernels.Rope(w.Pool, y, x, len(w.Step.Tokens), r.Heads, r.HeadDim, r.RotaryDim, w.Step.Positions, r.Table, inverse, r.Interleaved)
}

// Forward implements Op.
func (r *Rope) Forward(w *Work) { r.turn(w, w.Out, w.In[0], false) }

// Backward implements Op.
func (r *Rope) Backward(w *Work) { turnBack(w, r.turn) }

// turnPlan is the plan of an op that rotates its input.
func turnPlan(in []Shape) Plan {
	return Plan{Out: in[0], InPlace: []bool{true}, Sets: []bool{true}, Scratch: func(c Caps, _ int) int { return in[0].Len(c) }}
}

// turnBack is the backward pass of such an op: the gradient turns the other way.
func turnBack(w *Work, turn func(w *Work, y, x []float32, inverse bool)) {
	if w.Beta(0) == 0 {
		turn(w, w.DIn[0], w.DOut, true)
		return
	}
	s := w.Scratch[:len(w.DOut)]
	turn(w, s, w.DOut, true)
	kernels.AddTo(w.Pool, w.DIn[0], s)
}

// Attention is causal attention within each document of the step (Vaswani et al. 2017; grouped queries after Ainslie et al. 2023). The
// inputs are q [T, Heads·HeadDim], k and v [T, KVHeads·HeadDim], already rotated, and, with PrefixLen > 0, the parameters of more keys and
// values, [PrefixLen, KVHeads·HeadDim] a slot, which every token of a document of that slot sees (prefix tuning, Li and Liang 2021). In a
// program with a cache it appends each document's k and v to the cache, after the Past rows from row Cache that the document has there: see
// [kernels.KVCache].
type Attention struct {
	kernels.Attn
	PrefixLen int

	cache bool
	half  bool // the cache is bfloat16
}

func (a *Attention) setMode(b *Builder) {
	a.cache, a.half, a.ByDocument = b.cache, b.cached == BFloat16, !b.cache
}

func (a *Attention) kv() int { return a.KVHeads * a.HeadDim }

// Plan implements Op.
func (a *Attention) Plan(in []Shape, want []bool) Plan {
	p := Plan{Out: in[0], ReadsIn: make([]bool, len(in)), ReadsOut: true, Saved: []Shape{{Rows: T, Cols: a.Heads}}}
	for i := range in {
		p.ReadsIn[i] = true
	}
	if a.cache {
		row := Shape{Rows: C, Cols: a.kv()}
		if a.half {
			row.Cols = (row.Cols + 1) / 2
		}
		p.State = []Shape{row, row}
	}
	p.Scratch = func(c Caps, threads int) int { return a.BackwardScratch(c.T, threads) }
	p.Held = func(c Caps) kernels.Held {
		if a.cache { // keys are read where they lie
			return a.Attn.Held(c.N * a.PrefixLen)
		}
		return a.Attn.Held(c.T)
	}
	return p
}

func (a *Attention) prefix(in [][]float32) (k, v []float32) {
	if a.PrefixLen > 0 {
		return in[3], in[4]
	}
	return nil, nil
}

// Forward implements Op.
func (a *Attention) Forward(w *Work) {
	pk, pv := a.prefix(w.In)
	a.Attn.Forward(w.Pool, w.Out, w.Saved[0], w.In[0], w.In[1], w.In[2], w.Step.Docs, pk, pv, a.PrefixLen, a.held(w))
}

// Backward implements Op.
func (a *Attention) Backward(w *Work) {
	pk, pv := a.prefix(w.In)
	dpk, dpv := a.prefix(w.DIn)
	a.Attn.Backward(w.Pool, w.DIn[0], w.DIn[1], w.DIn[2], dpk, dpv, w.DOut, w.In[0], w.In[1], w.In[2], w.Out, w.Saved[0],
		w.Step.Docs, pk, pv, a.PrefixLen, w.Scratch)
}
