package train

import (
	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train/preference"
)

// CPO is the objective of contrastive preference optimisation, SimPO and AlphaPO: see [preference.CPO].
type CPO struct{ preference.CPO }

// NewCPO has TRL's defaults.
func NewCPO() *CPO { return &CPO{preference.NewCPO()} }

// Spec implements [Objective].
func (o *CPO) Spec() Spec {
	return Spec{Kind: datasets.KindPreference, Group: 2, MeanLogit: true, NoDropout: true, SharedPrompts: true, Whole: o.Whole(),
		Metrics: append([]string{"nll_loss"}, pairMetrics...)}
}

// Items implements [Counter]: it counts pairs.
func (*CPO) Items(b *Batch) int { return b.Docs() / 2 }

// Loss implements [Objective].
func (o *CPO) Loss(b *Batch, items int, coef []float32) float64 {
	pairs := b.pairs(nil)
	out := make([]preference.Grad, len(pairs))
	b.Kept = o.Pairs(pairs, out)
	return b.sums(out, items, nil, coef)
}

// Measure implements [Measurer].
func (o *CPO) Measure(b *Batch, note func(string, float64, int)) {
	pairs := b.pairs(nil)
	note("nll_loss", b.Kept.(float64)*float64(len(pairs)), len(pairs))
	b.measurePairs(pairs, o.Rewards, o.LogP, note)
}
