package rewards

import (
	"context"
	"fmt"
)

// Repetition is TRL's repetition_penalty_reward (Yeo et al. 2025, arXiv:2502.03373): the share of an answer's runs of tokens that were
// there before, times MaxPenalty.
type Repetition struct {
	NgramSize  int     `json:"ngram_size" help:"tokens of a run"`
	MaxPenalty float64 `json:"max_penalty" help:"the reward where all runs are the same; at most 0"`
}

// Check implements [Checker].
func (w *Repetition) Check() error {
	if w.NgramSize < 1 || !(w.MaxPenalty <= 0) {
		return fmt.Errorf("ngram_size is %d and max_penalty %g; they must be at least 1, and at most 0", w.NgramSize, w.MaxPenalty)
	}
	return nil
}

// Score implements [Reward].
func (w *Repetition) Score(_ context.Context, answers []Answer) ([]float64, error) {
	return each(answers, func(a Answer) float64 {
		n := len(a.IDs) - w.NgramSize + 1
		if n < 1 {
			return 0
		}
		seen := map[string]bool{}
		for i := range n {
			seen[fmt.Sprint(a.IDs[i:i+w.NgramSize])] = true
		}
		if len(seen) == n {
			return 0
		}
		return (1 - float64(len(seen))/float64(n)) * w.MaxPenalty
	}), nil
}
