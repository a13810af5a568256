package peft

import (
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// Activated LoRA (Greenewald et al. 2025, arXiv:2504.12397) computes with the base alone until alora_invocation_tokens: the pair acts on
// the rows from the start of their last occurrence in a document to its end. A document without them is the base's.

// invoked calls f for the rows of each segment and document that the adapter acts on. state, with a KV cache, is 1 when the rows before
// held the invocation: what follows them is the adapter's too.
func invoked(w *nn.Work, tokens []int32, state []float32, f func(start, end, slot int)) {
	for _, d := range w.Step.Docs {
		from := lastIndex(w.Step.Tokens[d.Start:d.End], tokens)
		if from >= 0 {
			from += int(d.Start)
		}
		if state != nil {
			if d.Past > 0 && from < 0 && state[0] == 1 {
				from = int(d.Start)
			}
			state[0] = 0
			if from >= 0 {
				state[0] = 1
			}
		}
		if from < 0 {
			continue
		}
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
