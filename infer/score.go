package infer

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train"
)

// Scored are a text's tokens and how well a model predicts them.
type Scored struct {
	IDs []int32
	// LogProbs are the natural logarithms of the probabilities of the tokens from the second on, each given those before it: one
	// fewer than IDs.
	LogProbs []float32
}

// Sum is the log-probability of the text after its first token.
func (s *Scored) Sum() float64 {
	sum := 0.0
	for _, l := range s.LogProbs {
		sum += float64(l)
	}
	return sum
}

// Score gives the log-probabilities of the tokens of texts, each by itself, with what stands before every text.
func (m *Model) Score(texts ...string) ([]Scored, error) {
	out := make([]Scored, len(texts))
	var err error
	for i, text := range texts {
		if out[i].IDs, err = m.Prompt(text); err != nil {
			return nil, err
		}
	}
	return out, m.each(out, nn.ModeScore, m.Adapters, func(s *Scored, p *nn.Program) error {
		n := len(s.IDs)
		if n < 2 {
			return nil
		}
		q := datasets.Sequence{InputIDs: s.IDs, Labels: append([]int32{datasets.NoLoss}, s.IDs[1:]...), DocStarts: []int32{0}}
		step, err := train.StepFrom([]datasets.Sequence{q})
		if err != nil {
			return err
		}
		m.segment(step)
		s.LogProbs = append([]float32(nil), p.Forward(step, false)...)
		if kernels.NonFinite(s.LogProbs) >= 0 {
			return fmt.Errorf("the model's scores are not finite: %s", p.Why(step, false))
		}
		return nil
	})
}

// each compiles one program for texts and calls f for each of them.
func (m *Model) each(texts []Scored, mode nn.Mode, adapters []nn.Adapter, f func(s *Scored, p *nn.Program) error) error {
	longest := 1
	for i := range texts {
		n := len(texts[i].IDs)
		if longest = max(longest, n); n > m.Positions() {
			return fmt.Errorf("text %d has %d tokens, but the model has %d positions for text", i+1, n, m.Positions())
		}
		for _, id := range texts[i].IDs {
			if id < 0 || int(id) >= m.Base.Config.Vocab {
				return fmt.Errorf("text %d has the token id %d, but the model's vocabulary is %d: its tokenizer is another model's",
					i+1, id, m.Base.Config.Vocab)
			}
		}
	}
	p, err := nn.Compile(m.Base, adapters, m.Params, nn.Options{Mode: mode, Caps: nn.Caps{T: longest, S: longest, N: 1}, Pool: m.Pool})
	if err != nil {
		return err
	}
	defer p.Close()
	for i := range texts {
		if err := f(&texts[i], p); err != nil {
			return fmt.Errorf("text %d: %w", i+1, err)
		}
	}
	return nil
}
