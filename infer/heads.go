package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train"
)

// Heads gives what a head of classes, or of one number as a reward has it, says of texts of tokens: for each text the values of the head
// [classes], before softmax.
func (m *Model) Heads(texts ...[]int32) (out [][]float32, err error) {
	if m.Base.Config.Task != "SEQ_CLS" {
		return nil, errors.New("a language model has no head of classes")
	}
	list := make([]Scored, len(texts))
	for i, ids := range texts {
		if list[i].IDs = ids; len(ids) == 0 {
			return nil, fmt.Errorf("text %d has no tokens", i+1)
		}
	}
	n := m.Base.Config.Outputs()
	return out, m.each(list, nn.ModeLogits, m.Adapters, func(s *Scored, p *nn.Program) error {
		labels := slices.Repeat([]int32{datasets.NoLoss}, len(s.IDs))
		labels[len(labels)-1] = 0
		step, err := train.ClassStepFrom([]datasets.Sequence{{InputIDs: s.IDs, Labels: labels, DocStarts: []int32{0}}})
		if err != nil {
			return err
		}
		m.segment(step)
		v := slices.Clone(p.Forward(step, false)[:n])
		if kernels.NonFinite(v) >= 0 {
			return fmt.Errorf("the model's scores are not finite: %s", p.Why(step, false))
		}
		out = append(out, v)
		return nil
	})
}
