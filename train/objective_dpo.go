package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train/preference"
)

// DPO is the objective of direct preference optimisation and its variants: see [preference.DPO]. The reference is the base with the adapter
// off, or the adapter that the training starts from.
type DPO struct {
	preference.DPO
	ReferenceFree         bool    `json:"reference_free" help:"compare with a reference that finds everything equally likely"`
	PrecomputeRefLogProbs bool    `json:"precompute_ref_log_probs" help:"keep what the reference found of a document, which costs 4 bytes a token of an answer, for the epochs after the first: it changes no bit"`
	SyncRefModel          bool    `json:"sync_ref_model" help:"let the reference follow the adapter (TR-DPO)"`
	RefModelMixupAlpha    float64 `json:"ref_model_mixup_alpha" help:"what of the adapter goes into the reference then, from 0 to 1"`
	RefModelSyncSteps     int     `json:"ref_model_sync_steps" help:"after how many steps each time"`
}

// NewDPO has TRL's defaults.
func NewDPO() *DPO {
	return &DPO{DPO: preference.NewDPO(), RefModelMixupAlpha: 0.6, RefModelSyncSteps: 512}
}

// Check implements [Checker].
func (o *DPO) Check() error {
	if o.SyncRefModel && o.ReferenceFree {
		return fmt.Errorf("sync_ref_model lets the reference follow, and reference_free has none: take one of both")
	}
	if o.SyncRefModel && o.PrecomputeRefLogProbs {
		return errPrecomputed
	}
	if err := checkSync(o.SyncRefModel, o.RefModelMixupAlpha, o.RefModelSyncSteps); err != nil {
		return err
	}
	return o.DPO.Check()
}

// errPrecomputed: what a reference found is right for as long as it stays.
var errPrecomputed = errors.New("precompute_ref_log_probs keeps what a reference found, and sync_ref_model changes the reference: " +
	"take one of both")

// checkSync says what is wrong with the settings of a reference that follows.
func checkSync(on bool, mix float64, steps int) error {
	if on && (!(mix >= 0 && mix <= 1) || steps < 1) {
		return fmt.Errorf("ref_model_mixup_alpha is %g and ref_model_sync_steps %d; the first must be from 0 to 1, the second at least 1",
			mix, steps)
	}
	return nil
}

// Spec implements [Objective].
func (o *DPO) Spec() Spec {
	s := Spec{Kind: datasets.KindPreference, Group: 2, Reference: !o.ReferenceFree, Entropy: true, MeanLogit: true, Top: true,
		Squares: o.UseWeighting, NoDropout: true, SharedPrompts: true, Precompute: o.PrecomputeRefLogProbs, Whole: o.Whole(),
		Metrics: append([]string{"entropy", "mean_token_accuracy"}, pairMetrics...)}
	if o.SyncRefModel {
		s.Sync = Sync{o.RefModelSyncSteps, o.RefModelMixupAlpha}
	}
	return s
}

// Items implements [Counter]: it counts pairs.
func (*DPO) Items(b *Batch) int { return b.Docs() / 2 }

// weight is what tokens count, nil for 1 each.
func (o *DPO) weight() func(i, shared int) float64 {
	if o.LDAlpha == 1 {
		return nil
	}
	return o.Weight
}

// batch are the pairs of a batch.
func (o *DPO) batch(b *Batch) []preference.Pair {
	pairs := b.pairs(o.weight())
	for i := range pairs {
		if o.UseWeighting {
			pairs[i].Weight = b.likely(2*i) * b.likely(2*i+1)
		}
	}
	return pairs
}

// likely is how likely the policy finds an answer, in terms of how likely it finds its own (WPO: Zhou et al. 2024, arXiv:2406.11827).
func (b *Batch) likely(doc int) float64 {
	from, to := b.Answer(doc)
	sum := 0.0
	for i := from; i < to; i++ {
		sum += float64(b.LogP[i]) - float64(b.Step.Stats.Squares[i])
	}
	return math.Exp(sum / float64(max(1, to-from)))
}

// Loss implements [Objective].
func (o *DPO) Loss(b *Batch, items int, coef []float32) float64 {
	pairs := o.batch(b)
	out := make([]preference.Grad, len(pairs))
	o.Pairs(pairs, out)
	return b.sums(out, items, o.weight(), coef)
}

// Measure implements [Measurer].
func (o *DPO) Measure(b *Batch, note func(string, float64, int)) {
	pairs := o.batch(b)
	b.measurePairs(pairs, o.Rewards, func(a *preference.Answer) float64 { return a.LogP }, note)
	b.tokenMean("entropy", b.Step.Stats.Entropy, everyDoc, len(pairs), note)
	b.tokenMean("mean_token_accuracy", b.Step.Stats.Top, func(doc int) bool { return doc%2 == 0 }, len(pairs), note)
}
