package tokenize

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
)

// silent refuses a document of which nothing will have a loss: it would be counted as trained on, and teach nothing.
func (f *EncodeFn) silent(d *datasets.StagedDoc) error {
	if f.Pack.SequenceLength == 0 || f.Pack.Supervised(&d.Doc) > 0 {
		return nil
	}
	n, first, labels := len(d.Tokens), -1, 0
	for t := range d.Labels {
		if d.Labels[t] != datasets.NoLoss {
			if labels++; first < 0 {
				first = t
			}
		}
	}
	bad := &rowError{reason: datasets.ReasonNothingToLearn, threshold: fmt.Sprintf("sequence_length %d", f.Pack.SequenceLength)}
	switch {
	case d.Labels == nil && n <= 1:
		bad.err = fmt.Errorf("%d tokens, of which none predicts another", n)
	case labels == 0:
		bad.err = fmt.Errorf("none of %d tokens has a loss: the answer is empty, or every turn is masked", n)
	default:
		bad.err = fmt.Errorf("%d tokens, and the first that has a loss is number %d: cut off with the rest, or alone in its piece",
			n, first+1)
	}
	return bad
}
