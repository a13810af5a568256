package rewards

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/infer"
)

// Model asks a reward model: an adapter over the base that learns, with a head of one score (the objective reward). The score is of the
// prompt with the answer, by their tokens, which the answer's end is one of; an answer that was cut has none.
type Model struct {
	Adapter string  `json:"adapter" help:"folder of the reward model's adapter, over the same base; every worker needs it"`
	Scale   float64 `json:"scale" help:"what its scores are multiplied by"`
	// MissingEnd is TRL's missing_eos_penalty.
	MissingEnd float64 `json:"missing_eos_penalty" help:"what an answer that was cut has less"`

	m *infer.Model
}

// NewModel has the defaults.
func NewModel() *Model { return &Model{Scale: 1} }

// Check implements [Checker].
func (w *Model) Check() error {
	if w.Adapter == "" {
		return errors.New("adapter names no folder: give that of a reward model's adapter, as the template reward-model trains one")
	}
	if w.Scale == 0 || math.IsNaN(w.Scale) || math.IsInf(w.Scale, 0) {
		return fmt.Errorf("scale is %g; it must be a number but 0", w.Scale)
	}
	if !(w.MissingEnd >= 0) {
		return fmt.Errorf("missing_eos_penalty is %g; it must be at least 0", w.MissingEnd)
	}
	return nil
}

// Open implements [Opener].
func (w *Model) Open(e Env) error {
	b, err := infer.Hold(e.Model, e.DType, w.Adapter)
	if err != nil {
		return err
	}
	defer b.Close()
	if n := b.Model.Config.NumLabels; n != 1 {
		return fmt.Errorf("%s is not a reward model: it has a head of %d outputs (0 for a language model), and a reward model's has one",
			w.Adapter, n)
	}
	w.m, err = b.With(w.Adapter)
	return err
}

// Close implements [Opener].
func (w *Model) Close() error {
	if w.m == nil {
		return nil
	}
	m := w.m
	w.m = nil
	return m.Close()
}

// Score implements [Reward].
func (w *Model) Score(ctx context.Context, answers []Answer) ([]float64, error) {
	ids := make([][]int32, len(answers))
	for i, a := range answers {
		ids[i] = append(append([]int32(nil), a.PromptIDs...), a.IDs...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	scores, err := w.m.RewardIDs(ids...)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(answers))
	for i, x := range scores {
		out[i] = w.Scale * float64(x)
		if answers[i].Truncated {
			out[i] -= w.MissingEnd
		}
		if math.IsNaN(out[i]) {
			return nil, fmt.Errorf("%s gives NaN for %q", w.Adapter, short(answers[i].Completion))
		}
	}
	return out, nil
}
