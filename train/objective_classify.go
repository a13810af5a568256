package train

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// Classify is the objective of sequence classification (task SEQ_CLS): a document has one class, which the label of its last token gives;
// all other labels are masked. The model's head of classes predicts it from that token's hidden state, and the loss is the cross-entropy,
// its mean over documents: log-probabilities and their gradients come from the same program and the same loss as a language model's.
type Classify struct{}

// classifies says whether a job's model has a head of classes.
func classifies(_ *Job, m *model.Model) bool { return m.Config.NumLabels > 0 }

// Spec implements [Objective].
func (Classify) Spec() Spec { return Spec{Kind: datasets.KindClassification, Pack: ClassStepFrom} }

// Loss implements [Objective].
func (Classify) Loss(b *Batch, items int, coef []float32) float64 { return NLL(b.LogP, items, coef) }

// ClassStepFrom packs sequences into one step of a classifier. A document without a class has no loss.
func ClassStepFrom(seqs []datasets.Sequence) (*nn.Step, error) {
	s, err := StepFrom(seqs)
	if err != nil {
		return nil, err
	}
	s.Rows, s.Labels = s.Rows[:0], s.Labels[:0]
	base, doc := 0, 0
	for i := range seqs {
		q := &seqs[i]
		for range q.DocStarts {
			d := s.Docs[doc]
			doc++
			last := int(d.End) - 1
			for t := int(d.Start); t < last; t++ {
				if l := q.Labels[t-base]; l != datasets.NoLoss {
					return nil, fmt.Errorf("document %s: its token %d has the label %d; in a classifier's data only a document's last "+
						"token has one, its class",
						first(q.DocIDs), t-int(d.Start), l)
				}
			}
			if l := q.Labels[last-base]; l != datasets.NoLoss {
				s.Rows, s.Labels = append(s.Rows, int32(last)), append(s.Labels, l)
			}
		}
		base += len(q.InputIDs)
	}
	return s, nil
}
