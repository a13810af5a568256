package evaluate

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
)

// Windows cuts a text into overlapping windows of at most length tokens that begin stride tokens apart, and puts the loss on the tokens
// that no earlier window ended on: the sliding-window perplexity of transformers' guide. With stride equal to length the windows are
// disjoint, and the first token of each has no loss.
func Windows(ids []int32, length, stride int) ([]datasets.Sequence, error) {
	if length < 2 || stride < 1 || stride > length {
		return nil, fmt.Errorf("windows of %d tokens every %d: at least 2 tokens, and a stride from 1 to the length", length, stride)
	}
	var out []datasets.Sequence
	last := 0 // end of the window before
	for begin := 0; begin < len(ids); begin += stride {
		end := min(begin+length, len(ids))
		q := datasets.Sequence{InputIDs: ids[begin:end], Labels: make([]int32, end-begin), DocStarts: []int32{0}, DocIDs: []string{""},
			DocSpans: [][2]int32{{0, 0}}, Sources: []string{""}}
		copy(q.Labels, q.InputIDs)
		for i := range max(1, last-begin) {
			q.Labels[i] = datasets.NoLoss
		}
		out = append(out, q)
		if last = end; end == len(ids) {
			break
		}
	}
	return out, nil
}
