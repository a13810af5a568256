package train

import (
	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train/preference"
)

// ORPO is the objective of odds ratio preference optimisation: see [preference.ORPO].
type ORPO struct{ preference.ORPO }

// NewORPO has TRL's defaults.
func NewORPO() *ORPO { return &ORPO{preference.NewORPO()} }

// Spec implements [Objective].
func (o *ORPO) Spec() Spec {
	return Spec{Kind: datasets.KindPreference, Group: 2, Prompts: true, MeanLogit: true, NoDropout: true, SharedPrompts: true, Whole: true,
		Metrics: append([]string{"nll_loss", "log_odds_ratio", "log_odds_chosen"}, pairMetrics...)}
}

// Items implements [Counter]: it counts pairs.
func (*ORPO) Items(b *Batch) int { return b.Docs() / 2 }

// Loss implements [Objective].
func (o *ORPO) Loss(b *Batch, items int, coef []float32) float64 {
	pairs := b.pairs(nil)
	out := make([]preference.Grad, len(pairs))
	b.Kept = o.Pairs(pairs, out)
	return b.sums(out, items, nil, coef)
}

// Measure implements [Measurer].
func (o *ORPO) Measure(b *Batch, note func(string, float64, int)) {
	pairs := b.pairs(nil)
	note("nll_loss", b.Kept.(float64)*float64(len(pairs)), len(pairs))
	for i := range pairs {
		odds, ratio, _, _ := o.Odds(&pairs[i])
		note("log_odds_ratio", ratio, 1)
		note("log_odds_chosen", odds, 1)
	}
	b.measurePairs(pairs, o.Rewards, func(a *preference.Answer) float64 { return a.LogP / float64(max(1, a.N)) }, note)
}
