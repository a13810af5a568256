package nn

import "github.com/adaptflow/adaptflow/kernels"

// LongRope is Rope with two tables (LongRoPE, Ding et al. 2024): the tokens of a document of more than Limit positions, those in the cache
// counted, turn by Long, the others by Short. transformers chooses for a whole batch by its longest row; here a document's result does
// not depend on those packed beside it. Keys that are in the cache already when a document passes Limit stay as they are.
type LongRope struct {
	Heads, HeadDim, RotaryDim int
	Short, Long               *kernels.RopeTable
	Limit                     int
}

// Plan implements Op.
func (r *LongRope) Plan(in []Shape, want []bool) Plan {
	return turnPlan(in)
}

// ByText implements [Textual].
func (r *LongRope) ByText(bool) bool { return true }

// turn rotates x [T, Heads·HeadDim] into y, run after run of documents that use the same table.
func (r *LongRope) turn(w *Work, y, x []float32, inverse bool) {
	d := r.Heads * r.HeadDim
	s := w.Step
	rotate := func(lo, hi int, t *kernels.RopeTable) {
		if lo < hi {
			kernels.Rope(w.Pool, y[lo*d:hi*d], x[lo*d:hi*d], hi-lo, r.Heads, r.HeadDim, r.RotaryDim, s.Positions[lo:hi], t, inverse, false)
		}
	}
	table, from := r.Short, 0
	for i, doc := range s.Docs {
		t := r.Short
		if s.length(i) > r.Limit {
			t = r.Long
		}
		if t != table {
			rotate(from, int(doc.Start), table)
			table, from = t, int(doc.Start)
		}
	}
	rotate(from, len(s.Tokens), table)
}

// Forward implements Op.
func (r *LongRope) Forward(w *Work) { r.turn(w, w.Out, w.In[0], false) }

// Backward implements Op.
func (r *LongRope) Backward(w *Work) { turnBack(w, r.turn) }
