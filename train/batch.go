package train

import (
	"fmt"
	"hash/fnv"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// StepFrom packs sequences into one step of the program. Labels are unshifted, as Hugging Face's: the row before a label predicts it.
// The number of supervised tokens is len(step.Rows). The random numbers of a document depend on its id and its place in the text, not on
// the batch.
func StepFrom(seqs []datasets.Sequence) (*nn.Step, error) {
	s := &nn.Step{}
	for i := range seqs {
		q := &seqs[i]
		if err := q.Validate(); err != nil {
			return nil, fmt.Errorf("sequence of document %s: %w", first(q.DocIDs), err)
		}
		base := len(s.Tokens)
		for d, from := range q.DocStarts {
			to := len(q.InputIDs)
			if d+1 < len(q.DocStarts) {
				to = int(q.DocStarts[d+1])
			}
			h := fnv.New64a()
			if d < len(q.DocIDs) {
				fmt.Fprintf(h, "%s\x00%d", q.DocIDs[d], q.DocSpans[d][0])
			}
			for t := int(from); t < to; t++ {
				if l := q.Labels[t]; l != datasets.NoLoss && t > int(from) {
					s.Rows = append(s.Rows, int32(base+t-1))
					s.Labels = append(s.Labels, l)
				}
				s.Positions = append(s.Positions, int32(t-int(from)))
			}
			s.Docs = append(s.Docs, kernels.Doc{Start: int32(base) + from, End: int32(base + to)})
			s.DocIDs = append(s.DocIDs, h.Sum64())
		}
		s.Tokens = append(s.Tokens, q.InputIDs...)
	}
	return s, nil
}

func first(ids []string) string {
	if len(ids) == 0 {
		return "(unknown)"
	}
	return ids[0]
}
