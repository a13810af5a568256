package train

import (
	"errors"
	"fmt"

	"github.com/adaptflow/adaptflow/train/preference"
)

// RLOO is the objective of REINFORCE with a group's other answers as baseline: see [preference.RLOO]. Rows are rollouts.
type RLOO struct {
	preference.RLOO
	preference.Groups
	Sample
	MaxCompletionLength int `json:"max_completion_length" help:"tokens of an answer at most"`
}

// NewRLOO has TRL's defaults.
func NewRLOO() *RLOO {
	return &RLOO{preference.NewRLOO(), preference.Groups{NumGenerations: 2}, NewSample(), 512}
}

// Check implements [Checker].
func (o *RLOO) Check() (err error) {
	if o.MaxCompletionLength < 1 {
		err = fmt.Errorf("max_completion_length is %d; it must be at least 1", o.MaxCompletionLength)
	}
	return errors.Join(err, o.RLOO.Check(), o.Groups.Check(), o.Sample.Check(), o.RewardFuncs.weights(o.RewardWeights))
}

// Spec implements [Objective].
func (o *RLOO) Spec() Spec {
	return Spec{Columns: rolloutColumns(false, false), Entropy: true, SharedPrompts: true,
		Temperature: o.Temperature, Metrics: append([]string{"entropy"}, clipMetrics...)}
}

// Rollouts implements [Sampler].
func (o *RLOO) Rollouts() Rollouts {
	return Rollouts{N: o.NumGenerations, MaxTokens: o.MaxCompletionLength, Reference: o.Beta != 0, Sample: o.Sample}
}

// Compared implements [Advantaged].
func (o *RLOO) Compared() preference.Groups { return o.Groups }

// Advantages implements [Advantaged].
func (o *RLOO) Advantages(rewards [][]float64, kl []float64) (advantages []float64, flat []bool) {
	return o.RLOO.Advantages(&o.Groups, rewards, kl)
}

// Items implements [Counter]: it counts answers.
func (*RLOO) Items(b *Batch) int { return b.Docs() }

// Loss implements [Objective].
func (o *RLOO) Loss(b *Batch, items int, coef []float32) float64 {
	return b.rolloutLoss(items, coef, o.RLOO.Loss)
}

// Measure implements [Measurer].
func (o *RLOO) Measure(b *Batch, note func(string, float64, int)) {
	rows := b.rollouts()
	m := o.RLOO.Measure(rows)
	noteEntropy(rows, note)
	noteClips(&m, note)
}
