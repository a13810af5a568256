package peft

import (
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// Activated LoRA (Greenewald et al. 2025, arXiv:2504.12397) computes with the base alone until alora_invocation_tokens: the pair acts on
// the rows from the start of their last occurrence in a document to its end. A document without them is the base's.

// invoked calls f for the rows of each segment and document that the adapter acts on. Of a document that is a part of a text the whole
// of it decides, as far as it is known: an invocation in an earlier part counts.
func invoked(w *nn.Work, tokens []int32, f func(start, end, slot int)) {
	for i, d := range w.Step.Docs {
		text, first := w.Step.Text(i)
		from := lastIndex(text, tokens)
		if from < 0 {
			continue
		}
		from = max(from+first, int(d.Start))
		w.EachSegment(func(start, end, slot int) {
			if lo, hi := max(start, from), min(end, int(d.End)); lo < hi {
				f(lo, hi, slot)
			}
		})
	}
}

// lastIndex is the start of the last occurrence of part in s, -1 for none.
func lastIndex(s, part []int32) int {
	for i := len(s) - len(part); i >= 0; i-- {
		if slices.Equal(s[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}
