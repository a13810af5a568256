package train

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train/preference"
)

// ObjectiveReward is the name of the objective of reward models, which is learnt by a head of one score (model.task SEQ_CLS).
const ObjectiveReward = "reward"

// RewardModel is the objective of reward models: see [preference.Reward]. The reward of a document is the score, by a head of one, of its
// last token. Rows may have a margin.
type RewardModel struct{ preference.Reward }

// Spec implements [Objective].
func (*RewardModel) Spec() Spec {
	return Spec{Kind: datasets.KindPreference, Pack: RewardStepFrom, Group: 2, Scores: true, NoDropout: true, SharedPrompts: true,
		Columns: []Column{{Name: datasets.ColumnMargin, Optional: true}},
		Metrics: []string{"accuracy", "margin", "mean_reward", "min_reward", "max_reward"}}
}

// RewardStepFrom packs sequences into one step in which the last token of every document is scored.
func RewardStepFrom(seqs []datasets.Sequence) (*nn.Step, error) {
	s, err := StepFrom(seqs)
	if err != nil {
		return nil, err
	}
	s.Rows, s.Labels = nil, nil
	for _, d := range s.Docs {
		s.Rows, s.Labels = append(s.Rows, d.End-1), append(s.Labels, 0)
	}
	return s, nil
}

// Open implements [Opener].
func (*RewardModel) Open(e *Env) error {
	if n := e.Model.Config.NumLabels; n != 1 {
		return fmt.Errorf("a reward model has a head of one output, and this one has %d: set model.task to SEQ_CLS", n)
	}
	return nil
}

// Close implements [Opener].
func (*RewardModel) Close() {}

// Cost implements [Opener].
func (*RewardModel) Cost(*model.Model, int) Cost { return Cost{} }

// Items implements [Counter]: it counts pairs.
func (*RewardModel) Items(b *Batch) int { return b.Docs() / 2 }

// Loss implements [Objective].
func (o *RewardModel) Loss(b *Batch, items int, coef []float32) (sum float64) {
	margins := b.Column(datasets.ColumnMargin)
	for d := 0; d < b.Docs(); d += 2 {
		margin := 0.0
		if margins != nil {
			margin = float64(margins[d])
		}
		loss, dc, dr := o.Pair(float64(b.LogP[d]), float64(b.LogP[d+1]), margin)
		sum += loss
		coef[d], coef[d+1] = float32(dc/float64(items)), float32(dr/float64(items))
	}
	return sum
}

// Measure implements [Measurer].
func (*RewardModel) Measure(b *Batch, note func(string, float64, int)) {
	least, most, n := b.LogP[0], b.LogP[0], b.Docs()/2
	for d := 0; d < b.Docs(); d += 2 {
		c, r := b.LogP[d], b.LogP[d+1]
		right := 0.0
		if c > r {
			right = 1
		}
		note("accuracy", right, 1)
		note("margin", float64(c-r), 1)
		note("mean_reward", float64(c+r)/2, 1)
		least, most = min(least, c, r), max(most, c, r)
	}
	note("min_reward", float64(least)*float64(n), n)
	note("max_reward", float64(most)*float64(n), n)
}
