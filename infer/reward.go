package infer

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/tokenize/chat"
	"github.com/adaptflow/adaptflow/train"
)

// PromptAnswer is a prompt with an answer, whose reward is asked. Both are plain text: what a chat template makes of messages are tokens,
// for [Model.RewardIDs].
type PromptAnswer struct{ Prompt, Answer string }

// Rewards are what the reward model, an adapter with a head of one score, gives answers: by the tokens that training has of plain prompts
// and answers, the end token among them. A reward depends on its own text alone.
func (m *Model) Rewards(answers ...PromptAnswer) ([]float32, error) {
	tk, _, err := m.Text()
	if err != nil {
		return nil, err
	}
	ids := make([][]int32, len(answers))
	for i, a := range answers {
		x, err := chat.PlainAnswers(tk, a.Prompt, []string{a.Answer})
		if err != nil {
			return nil, fmt.Errorf("text %d: %w", i+1, err)
		}
		ids[i] = append(x.Prompt, x.Answers[0]...)
	}
	return m.RewardIDs(ids...)
}

// RewardIDs is [Model.Rewards] of the tokens of prompts with their answers.
func (m *Model) RewardIDs(ids ...[]int32) ([]float32, error) {
	if n := m.Base.Config.NumLabels; n != 1 {
		return nil, fmt.Errorf("a reward is the score of a head of one output, and this model's has %d (0 for a language model): open it "+
			"with a reward model's adapter", n)
	}
	texts := make([]Scored, len(ids))
	for i := range ids {
		if texts[i].IDs = ids[i]; len(ids[i]) == 0 {
			return nil, fmt.Errorf("text %d has no tokens", i+1)
		}
	}
	out := make([]float32, 0, len(ids))
	err := m.each(texts, nn.ModeLogits, m.Adapters, func(s *Scored, p *nn.Program) error {
		step, err := train.RewardStepFrom([]datasets.Sequence{{InputIDs: s.IDs, Labels: make([]int32, len(s.IDs)), DocStarts: []int32{0}}})
		if err != nil {
			return err
		}
		m.segment(step)
		scores := p.Forward(step, false)
		if kernels.NonFinite(scores) >= 0 {
			return fmt.Errorf("the reward is not finite: %s", p.Why(step, false))
		}
		out = append(out, scores[0])
		return nil
	})
	return out, err
}
