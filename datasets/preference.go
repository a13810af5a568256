package datasets

// KindPreference is the kind of shards of pairs of answers: documents come in twos, prompt and chosen answer before prompt and rejected
// answer, with a loss on the answers. The two of a pair are in one sequence.
const KindPreference = "preference"

// KindUnpaired is the kind of shards of prompts with an answer, which [ColumnLabel] says to be desirable, 1, or not, 0.
const KindUnpaired = "unpaired_preference"

// Columns of [Sequence.Values], one number a document.
const (
	ColumnLabel  = "label"
	ColumnMargin = "margin" // by how much the reward of the chosen answer should be above that of the rejected one, on both
)
