package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train/preference"
)

// The columns of pairs of the model's own answers, one number a document.
const (
	ColumnReward = "reward" // what an answer's rewards are together
	ColumnEnded  = "ended"  // 1 for an answer that was not cut
)

// OnlineDPO is the objective of DPO over pairs of the model's own answers, the better of which, by their rewards, is chosen: see
// [preference.OnlineDPO]. The reference is as DPO's.
type OnlineDPO struct {
	preference.OnlineDPO
	Sampled
	RewardFuncs       Rewards   `json:"reward_funcs" help:"what scores answers: names, or settings with a name"`
	RewardWeights     []float64 `json:"reward_weights" help:"one for each reward; 1 each where empty"`
	MaxNewTokens      int       `json:"max_new_tokens" help:"tokens of an answer at most"`
	MissingEOSPenalty float64   `json:"missing_eos_penalty" help:"what the reward of an answer that was cut is lower by"`
}

// NewOnlineDPO has TRL's defaults.
func NewOnlineDPO() *OnlineDPO {
	return &OnlineDPO{OnlineDPO: preference.NewOnlineDPO(), Sampled: NewSampled(0.9), MaxNewTokens: 64}
}

func (o *OnlineDPO) groups() *preference.Groups {
	return &preference.Groups{NumGenerations: 2, RewardWeights: o.RewardWeights}
}

// Check implements [Checker].
func (o *OnlineDPO) Check() (err error) {
	if o.MaxNewTokens < 1 {
		err = fmt.Errorf("max_new_tokens is %d; it must be at least 1", o.MaxNewTokens)
	}
	if !(o.MissingEOSPenalty >= 0) || math.IsInf(o.MissingEOSPenalty, 0) {
		err = errors.Join(err, fmt.Errorf("missing_eos_penalty is %g; it must be at least 0", o.MissingEOSPenalty))
	}
	return errors.Join(err, o.OnlineDPO.Check(), o.Sampled.Check(), o.RewardFuncs.weights(o.RewardWeights))
}

// Spec implements [Objective].
func (o *OnlineDPO) Spec() Spec {
	return Spec{Kind: datasets.KindPreference, Group: 2, Reference: true, NoDropout: true, SharedPrompts: true,
		Columns: []Column{{Name: ColumnReward}, {Name: ColumnEnded}},
		Metrics: []string{"objective/kl", "objective/entropy", "objective/non_score_reward", "objective/rlhf_reward", "objective/scores",
			"objective/scores_margin", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen",
			"logps/rejected", "val/contain_eos_token", "beta"}}
}

// Rollouts implements [Sampler].
func (o *OnlineDPO) Rollouts() Rollouts {
	return Rollouts{N: 2, Documents: 2, MaxTokens: o.MaxNewTokens, Sample: Sample{Sampled: o.Sampled, RewardFuncs: o.RewardFuncs}}
}

// Judge implements [Sequencer]: the advantage of the chosen answer is 1, that of the other -1.
func (o *OnlineDPO) Judge(rows []datasets.Rollout) {
	for i := range rows {
		x := &rows[i]
		if x.Reward = o.groups().Total(x.Rewards); x.Truncated {
			x.Reward -= o.MissingEOSPenalty
		}
	}
	for i := 0; i+1 < len(rows); i += 2 {
		a, b := &rows[i], &rows[i+1]
		a.Flat = a.Reward == b.Reward
		b.Flat = a.Flat
		a.Advantage, b.Advantage = -1, 1
		if preference.Better(a.Reward, b.Reward) {
			a.Advantage, b.Advantage = 1, -1
		}
	}
}

// Sequences implements [Sequencer]: a pair each, the chosen answer before the other.
func (o *OnlineDPO) Sequences(rows []datasets.Rollout) (out Sequences) {
	for pair := range slices.Chunk(rows, 2) {
		q := datasets.Sequence{Values: map[string][]float32{}}
		for _, x := range pair {
			if x.Advantage > 0 {
				o.add(&q, &x)
			}
		}
		for _, x := range pair {
			if x.Advantage < 0 {
				o.add(&q, &x)
			}
		}
		out = append(out, q)
	}
	return out
}

// add adds an answer with its prompt to a sequence.
func (o *OnlineDPO) add(q *datasets.Sequence, x *datasets.Rollout) {
	addRollout(q, x)
	ended := float32(1)
	if x.Truncated {
		ended = 0
	}
	q.Values[ColumnReward] = append(q.Values[ColumnReward], float32(x.Reward))
	q.Values[ColumnEnded] = append(q.Values[ColumnEnded], ended)
}

// Items implements [Counter]: it counts pairs.
func (*OnlineDPO) Items(b *Batch) int { return b.Docs() / 2 }

// Loss implements [Objective].
func (o *OnlineDPO) Loss(b *Batch, items int, coef []float32) float64 {
	pairs := b.pairs(nil)
	out := make([]preference.Grad, len(pairs))
	for i := range pairs {
		loss, slope := o.Pair(&pairs[i])
		out[i] = preference.Grad{Loss: loss, Chosen: slope, Rejected: -slope}
	}
	return b.sums(out, items, nil, coef)
}

// Measure implements [Measurer].
func (o *OnlineDPO) Measure(b *Batch, note func(string, float64, int)) {
	rewards, ended := b.Column(ColumnReward), b.Column(ColumnEnded)
	for d := range b.Docs() {
		a := b.answer(d, nil)
		kl, score := a.LogP-a.Ref, float64(rewards[d])
		note("objective/kl", kl, 1)
		note("objective/entropy", -a.LogP, 1)
		note("objective/non_score_reward", -o.Beta*kl, 1)
		if !math.IsNaN(score) {
			note("objective/scores", score, 1)
			note("objective/rlhf_reward", score-o.Beta*kl, 1)
		}
		note("val/contain_eos_token", float64(ended[d]), 1)
	}
	pairs := b.pairs(nil)
	for i := range pairs {
		p := &pairs[i]
		c, r := o.Rewards(p)
		noteRewards(c, r, note)
		note("logps/chosen", p.Chosen.LogP, 1)
		note("logps/rejected", p.Rejected.LogP, 1)
		if m := float64(rewards[2*i]) - float64(rewards[2*i+1]); !math.IsNaN(m) {
			note("objective/scores_margin", m, 1)
		}
		note("beta", o.Beta, 1)
	}
}
