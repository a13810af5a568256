package rewards

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Overlong is TRL's soft_overlong_punishment (DAPO: Yu et al. 2025, arXiv:2503.14476): 0 up to MaxCompletionLen - SoftPunishCache
// tokens, from there falling to -1 at MaxCompletionLen.
type Overlong struct {
	MaxCompletionLen int `json:"max_completion_len" help:"tokens of an answer at which the reward is -1"`
	SoftPunishCache  int `json:"soft_punish_cache" help:"so many tokens before, it begins to fall"`
}

// Check implements [Checker].
func (w *Overlong) Check() error {
	if w.MaxCompletionLen < 1 || w.SoftPunishCache < 0 || w.SoftPunishCache > w.MaxCompletionLen {
		return fmt.Errorf("max_completion_len is %d and soft_punish_cache %d; the first must be at least 1, the second between 0 and it",
			w.MaxCompletionLen, w.SoftPunishCache)
	}
	return nil
}

// Score implements [Reward].
func (w *Overlong) Score(_ context.Context, answers []Answer) ([]float64, error) {
	free := w.MaxCompletionLen - w.SoftPunishCache
	return each(answers, func(a Answer) float64 {
		switch n := len(a.IDs); {
		case n <= free:
			return 0
		case n <= w.MaxCompletionLen:
			return float64(free-n) / float64(w.SoftPunishCache)
		}
		return -1
	}), nil
}

// Cosine is TRL's cosine_scaled_reward (Yeo et al. 2025, arXiv:2502.03373): whether an answer is right, scaled by its length.
type Cosine struct {
	MaxLen          int      `json:"max_len" help:"tokens at which the length counts fully"`
	MinValueWrong   float64  `json:"min_value_wrong" help:"the reward of the shortest wrong answer"`
	MaxValueWrong   float64  `json:"max_value_wrong" help:"the reward of the longest wrong answer"`
	MinValueCorrect float64  `json:"min_value_correct" help:"the reward of the longest right answer"`
	MaxValueCorrect float64  `json:"max_value_correct" help:"the reward of the shortest right answer"`
	Accuracy        Accuracy `json:"accuracy" help:"how right answers are known: the settings of accuracy"`
}

// NewCosine has TRL's defaults.
func NewCosine() *Cosine {
	return &Cosine{MinValueWrong: -1, MaxValueWrong: -0.5, MinValueCorrect: 0.5, MaxValueCorrect: 1, Accuracy: Accuracy{By: "auto"}}
}

// Check implements [Checker].
func (w *Cosine) Check() error {
	if w.MaxLen < 1 {
		return errors.New("max_len must be at least 1")
	}
	return w.Accuracy.Check()
}

// Score implements [Reward].
func (w *Cosine) Score(_ context.Context, answers []Answer) ([]float64, error) {
	known := Accuracy{By: w.Accuracy.By, After: w.Accuracy.After, Before: w.Accuracy.Before, Within: w.Accuracy.Within}
	return each(answers, func(a Answer) float64 {
		right := known.one(a)
		if math.IsNaN(right) {
			return right
		}
		low, high := w.MinValueCorrect, w.MaxValueCorrect
		if right == 0 {
			low, high = w.MaxValueWrong, w.MinValueWrong
		}
		return low + 0.5*(high-low)*(1+math.Cos(math.Pi*min(float64(len(a.IDs))/float64(w.MaxLen), 1)))
	}), nil
}
