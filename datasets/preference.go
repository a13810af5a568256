package datasets

import "math"

// KindPreference is the kind of shards of pairs of answers: documents come in twos, prompt and chosen answer before prompt and rejected
// answer, with a loss on the answers. The two of a pair are in one sequence.
const KindPreference = "preference"

// KindUnpaired is the kind of shards of prompts with an answer, which [ColumnLabel] says to be desirable, 1, or not, 0.
const KindUnpaired = "unpaired_preference"

// KindPrompt is the kind of shards of prompts that a model is to answer itself, each a document, with a loss on what a right answer would
// be: the end of the text where the row has none.
const KindPrompt = "prompt"

// Labels of a document's first token, which nothing predicts. NewAnswer begins, within a [Doc], the next of several documents that stay
// together; the others do that too and say whether the answer is desirable: they stay in shards of [KindUnpaired].
const (
	NewAnswer         = NoLoss - 1
	UndesirableAnswer = NoLoss - 2
	DesirableAnswer   = NoLoss - 3
)

// MarginLabel is the label of the first token of a rejected answer's document in place of [NewAnswer], where the row says by how much the
// chosen one is better: below all other such labels by the bits of the number in float32, the sign in the place of the last.
func MarginLabel(margin float64) int32 {
	b := math.Float32bits(float32(margin))
	return DesirableAnswer - 1 - int32(b&(1<<31-2)|b>>31)
}

// marginOf is the number of a [MarginLabel]; false of other labels.
func marginOf(label int32) (float32, bool) {
	if label >= DesirableAnswer {
		return 0, false
	}
	b := uint32(DesirableAnswer - 1 - label)
	return math.Float32frombits(b&^1 | b<<31), true
}

// margins are the numbers of [ColumnMargin] of a sequence of pairs, the same for both answers of a pair, 0 where a row says none; nil where
// none does.
func (s *Sequence) margins() []float32 {
	out, some := make([]float32, len(s.DocStarts)), false
	for d := 1; d < len(out); d += 2 {
		if m, ok := marginOf(s.Labels[s.DocStarts[d]]); ok {
			out[d-1], out[d], some = m, m, true
		}
	}
	if !some {
		return nil
	}
	return out
}

// labels are the numbers of [ColumnLabel] of a sequence.
func (s *Sequence) labels() (out []float32) {
	for _, at := range s.DocStarts {
		x := float32(0)
		if s.Labels[at] == DesirableAnswer {
			x = 1
		}
		out = append(out, x)
	}
	return out
}

// Columns of [Sequence.Values], one number a document.
const (
	ColumnLabel  = "label"
	ColumnMargin = "margin" // by how much the reward of the chosen answer should be above that of the rejected one, on both
)
