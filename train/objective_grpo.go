package train

import (
	"errors"

	"github.com/adaptflow/adaptflow/train/preference"
)

// GRPO is the objective of group relative policy optimisation and its variants: see [preference.GRPO]. Rows are rollouts.
type GRPO struct {
	preference.GRPO
	preference.Scaling
	Sample
}

// NewGRPO has TRL's defaults.
func NewGRPO() *GRPO { return &GRPO{preference.NewGRPO(), preference.NewScaling(), NewSample()} }

// Check implements [Checker].
func (o *GRPO) Check() error {
	return errors.Join(o.GRPO.Check(), o.Scaling.Check(), o.Sample.Check(),
		o.RewardFuncs.weights(o.RewardWeights))
}

// Spec implements [Objective].
func (o *GRPO) Spec() Spec {
	s := Spec{Columns: rolloutColumns(o.Beta != 0, o.Shared()), Entropy: true, Whole: o.Whole(), SharedPrompts: true,
		Temperature: o.Temperature, Metrics: []string{"entropy"}}
	if o.Beta != 0 {
		s.Metrics = append(s.Metrics, "kl")
	}
	switch o.LossType {
	case "cispo":
		s.Metrics = append(s.Metrics, "cispo_clip_ratio")
	case "vespo":
		s.Metrics = append(s.Metrics, "vespo/phi_seq_mean")
	case "sapo":
	default:
		s.Metrics = append(s.Metrics, clipMetrics...)
	}
	return s
}

// Rollouts implements [Sampler].
func (o *GRPO) Rollouts() Rollouts {
	return Rollouts{N: o.NumGenerations, MaxTokens: o.MaxCompletionLength, Reference: o.Beta != 0, Sample: o.Sample}
}

// Compared implements [Advantaged].
func (o *GRPO) Compared() preference.Groups { return o.Groups }

// Advantages implements [Advantaged].
func (o *GRPO) Advantages(rewards [][]float64, _ []float64) (advantages []float64, flat []bool) {
	return o.Scaling.Advantages(rewards)
}

// Items implements [Counter]: it counts answers.
func (*GRPO) Items(b *Batch) int { return b.Docs() }

// Loss implements [Objective].
func (o *GRPO) Loss(b *Batch, items int, coef []float32) float64 {
	return b.rolloutLoss(items, coef, o.GRPO.Loss)
}

// Measure implements [Measurer].
func (o *GRPO) Measure(b *Batch, note func(string, float64, int)) {
	rows := b.rollouts()
	m := o.GRPO.Measure(rows)
	noteEntropy(rows, note)
	if o.Beta != 0 {
		note("kl", m.KL.Sum, m.KL.N)
	}
	switch o.LossType {
	case "cispo":
		note("cispo_clip_ratio", m.CISPO.Sum, m.CISPO.N)
	case "vespo":
		note("vespo/phi_seq_mean", m.Phi.Sum, m.Phi.N)
	case "sapo":
	default:
		noteClips(&m, note)
	}
}
