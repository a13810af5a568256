package nn

import "github.com/adaptflow/adaptflow/kernels"

// DynamicRope is Rope whose frequencies depend on how long a document is (dynamic NTK scaling, transformers' rope type "dynamic"): the
// tokens of a document of more than Limit positions, those in the cache counted, turn by the frequencies of its length, the others by
// Table. transformers takes the length of a batch's longest row, and keeps it for the shorter ones that follow, down to Limit; here a
// document's result depends on itself alone. When a document grows token by token each key is turned by the length that it had then, as
// transformers does with its cache.
type DynamicRope struct {
	Heads, HeadDim, RotaryDim int
	Table                     *kernels.RopeTable
	Limit                     int
	Frequencies               func(length int) []float64
}

// Plan implements Op.
func (r *DynamicRope) Plan(in []Shape, want []bool) Plan {
	return turnPlan(in)
}

// ByText implements [Textual].
func (r *DynamicRope) ByText(bool) bool { return true }

// turn rotates x [T, Heads·HeadDim] into y, document after document.
func (r *DynamicRope) turn(w *Work, y, x []float32, inverse bool) {
	d := r.Heads * r.HeadDim
	s := w.Step
	rotate := func(lo, hi int, positions []int32, t *kernels.RopeTable) {
		if lo < hi {
			kernels.Rope(w.Pool, y[lo*d:hi*d], x[lo*d:hi*d], hi-lo, r.Heads, r.HeadDim, r.RotaryDim, positions, t, inverse, false)
		}
	}
	from := 0
	var rows []int32
	for i, doc := range s.Docs {
		at := s.Positions[doc.Start:doc.End]
		length := s.length(i)
		if length <= r.Limit {
			continue
		}
		rotate(from, int(doc.Start), s.Positions[from:doc.Start], r.Table)
		from = int(doc.End)
		for i := len(rows); i < len(at); i++ {
			rows = append(rows, int32(i))
		}
		rotate(int(doc.Start), int(doc.End), rows[:len(at)], kernels.NewRopeRows(r.Frequencies(length), at, 1))
	}
	rotate(from, len(s.Tokens), s.Positions[from:], r.Table)
}

// Forward implements Op.
func (r *DynamicRope) Forward(w *Work) { r.turn(w, w.Out, w.In[0], false) }

// Backward implements Op.
func (r *DynamicRope) Backward(w *Work) { turnBack(w, r.turn) }
