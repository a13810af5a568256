package datasets

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
