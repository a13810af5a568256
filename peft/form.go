package peft

import (
	"iter"
	"slices"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/nn"
)

// banks cuts the entries of one slot out of parameter banks, into slices that it keeps.
type banks struct {
	sizes []int
	p, dp [][]float32
}

func newBanks(sizes []int) banks {
	return banks{sizes: sizes, p: make([][]float32, len(sizes)), dp: make([][]float32, len(sizes))}
}

// values are the parameters of the slot, whose banks are in[0], in[1], …
func (b *banks) values(in [][]float32, slot int) [][]float32 {
	for i, n := range b.sizes {
		b.p[i] = nn.Bank(in[i], slot, n)
	}
	return b.p
}

// grads are the gradients of the slot; an entry is nil where none is wanted.
func (b *banks) grads(din [][]float32, slot int) [][]float32 {
	for i, n := range b.sizes {
		b.dp[i] = nn.Bank(din[i], slot, n)
	}
	return b.dp
}

// slots are the adapter slots that segments use, in the order in which they begin, each once with the rows that are its own: what depends
// on the slot alone is computed once. Empty segments, and those of the base alone (slot -1), are passed over.
func slots(segs []nn.Segment) iter.Seq2[int, slotRows] {
	return func(yield func(int, slotRows) bool) {
		for i, s := range segs {
			used := func(q nn.Segment) bool { return q.Slot == s.Slot && q.Start < q.End }
			if s.Slot >= 0 && used(s) && !slices.ContainsFunc(segs[:i], used) && !yield(s.Slot, segs[i:]) {
				return
			}
		}
	}
}

// slotRows are segments from the first of a slot on.
type slotRows []nn.Segment

// each yields the pieces [start, end) of the slot's rows.
func (r slotRows) each(yield func(start, end int) bool) {
	for _, s := range r {
		if s.Slot == r[0].Slot && s.Start < s.End && !yield(s.Start, s.End) {
			return
		}
	}
}

// carve cuts n values off the front of scratch.
func carve(scratch *[]float32, n int) []float32 {
	s := *scratch
	*scratch = s[n:]
	return s[:n:n]
}

// dropped applies HF's dropout on a layer's input; 0 gives x itself.
func dropped(b *nn.Builder, name string, p Float, x nn.Ref) nn.Ref {
	if p == 0 {
		return x
	}
	return b.Apply(&nn.Dropout{P: float32(p), Name: name}, x)
}

// moduleDropped says whether module_dropout leaves the module's whole effect out of this training step.
func moduleDropped(w *nn.Work, name string, p Float) bool {
	if p == 0 || !w.Training {
		return false
	}
	r := philox.NewKey(w.Seed, "module_dropout", name).At(w.Step.Index, 0)
	return philox.Uniform(r[0]) < float32(p)
}

// wantAny says whether a gradient is wanted of any input from the first on.
func wantAny(want []bool, first int) bool {
	for _, x := range want[first:] {
		if x {
			return true
		}
	}
	return false
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

// same returns n copies of v.
func same(n int, v bool) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// besidePlan is the plan of an op that adds to the layer's output: the inputs are that output, which passes, the layer's input, and
// parameters.
func besidePlan(in []nn.Shape, want []bool) nn.Plan {
	reads := same(len(in), want[1] || wantAny(want, 2))
	reads[0], reads[1] = false, wantAny(want, 2)
	pass, place := same(len(in), false), same(len(in), false)
	pass[0], place[0] = true, true
	return nn.Plan{Out: in[0], ReadsIn: reads, Pass: pass, InPlace: place}
}
