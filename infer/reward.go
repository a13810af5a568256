package infer

import (
	"fmt"

	"github.com/adaptflow/adaptflow/tokenize/chat"
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
	values, err := m.Heads(ids...)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(ids))
	for i, v := range values {
		out[i] = v[0]
	}
	return out, nil
}
