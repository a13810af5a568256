package preference

import (
	"errors"
	"fmt"
	"math"
)

// Groups say how rewards of several answers to a prompt become advantages, under TRL's names.
type Groups struct {
	NumGenerations int       `json:"num_generations" help:"answers to a prompt, which are compared with one another"`
	RewardWeights  []float64 `json:"reward_weights" help:"one for each reward; 1 each where empty"`
}

// Check says what is wrong with the settings.
func (g *Groups) Check() error {
	if g.NumGenerations < 2 {
		return fmt.Errorf("num_generations is %d: an answer is compared with others to its prompt, so it must be at least 2",
			g.NumGenerations)
	}
	return nil
}

// stdAdd is what TRL adds to a deviation before it divides by it.
const stdAdd = 1e-4

// Total is the weighted sum of an answer's rewards; those that are NaN do not count, and it is NaN where all are.
func (g *Groups) Total(rewards []float64) float64 {
	sum, scored := 0.0, false
	for k, r := range rewards {
		if math.IsNaN(r) {
			continue
		}
		w := 1.0
		if len(g.RewardWeights) > 0 {
			w = g.RewardWeights[k]
		}
		sum, scored = sum+w*r, true
	}
	if !scored {
		return math.NaN()
	}
	return sum
}

// Totals is Total of each answer.
func (g *Groups) Totals(rewards [][]float64) []float64 {
	out := make([]float64, len(rewards))
	for i, r := range rewards {
		out[i] = g.Total(r)
	}
	return out
}

// Moments are the mean of the numbers that are not NaN and their deviation, by one less than their number; 0 for that of one.
func Moments(x []float64) (mean, std float64) {
	n := 0
	for _, v := range x {
		if !math.IsNaN(v) {
			mean += v
			n++
		}
	}
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	mean /= float64(n)
	for _, v := range x {
		if !math.IsNaN(v) {
			std += (v - mean) * (v - mean)
		}
	}
	if n < 2 {
		return mean, math.NaN()
	}
	return mean, math.Sqrt(std / float64(n-1))
}

// Scaling says what GRPO makes of rewards.
type Scaling struct {
	Groups
	ScaleRewards string `json:"scale_rewards" help:"group: by the deviation of its group; batch: by that of all that is sampled together; none"`
	Aggregation  string `json:"multi_objective_aggregation" help:"sum_then_normalize: of the weighted sum of the rewards; normalize_then_sum: each reward in its group first (GDPO)"`
}

// NewScaling are TRL's defaults.
func NewScaling() Scaling {
	return Scaling{Groups{NumGenerations: 8}, "group", "sum_then_normalize"}
}

// Check says what is wrong with the settings.
func (s *Scaling) Check() (err error) {
	if s.ScaleRewards != "group" && s.ScaleRewards != "batch" && s.ScaleRewards != "none" {
		err = fmt.Errorf("scale_rewards is %q; it must be group, batch or none", s.ScaleRewards)
	}
	if s.Aggregation != "sum_then_normalize" && s.Aggregation != "normalize_then_sum" {
		err = errors.Join(err, fmt.Errorf("multi_objective_aggregation is %q; it must be sum_then_normalize or normalize_then_sum",
			s.Aggregation))
	}
	return errors.Join(err, s.Groups.Check())
}

// Advantages are those of answers, group by group, by the rewards of each; NaN is not a reward. Of an answer without any it is 0. flat says
// of each whether what it was divided by is 0.
func (s *Scaling) Advantages(rewards [][]float64) (out []float64, flat []bool) {
	totals := s.Totals(rewards)
	n := s.NumGenerations
	out, flat = make([]float64, len(totals)), make([]bool, len(totals))
	if s.Aggregation == "normalize_then_sum" {
		normal := make([][]float64, len(rewards))
		for i, r := range rewards {
			normal[i] = make([]float64, len(r))
		}
		for from := 0; from < len(rewards); from += n {
			for k := range rewards[from] {
				of := make([]float64, n)
				for i := range of {
					of[i] = rewards[from+i][k]
				}
				mean, std := Moments(of)
				for i := range of {
					normal[from+i][k] = (of[i] - mean) / (std + stdAdd)
				}
			}
		}
		totals = s.Totals(normal)
		mean, std := Moments(totals)
		for i, x := range totals {
			out[i], flat[i] = (x-mean)/(std+stdAdd), std <= 1e-8
		}
		return scored(out), flat
	}
	_, all := Moments(totals)
	for from := 0; from < len(totals); from += n {
		mean, std := Moments(totals[from : from+n])
		if s.ScaleRewards == "batch" {
			std = all
		}
		for i := from; i < from+n; i++ {
			out[i], flat[i] = totals[i]-mean, std <= 1e-8
			if s.ScaleRewards != "none" {
				out[i] /= std + stdAdd
			}
		}
	}
	return scored(out), flat
}

// scored gives answers without a reward an advantage of 0.
func scored(x []float64) []float64 {
	for i, v := range x {
		if math.IsNaN(v) {
			x[i] = 0
		}
	}
	return x
}

// Advantages are those of answers, group by group: the reward, less what its distance from the reference takes, less the mean of the
// others'. kl is the sum of log(policy/reference) of each answer; nil where Beta is 0.
func (o *RLOO) Advantages(g *Groups, rewards [][]float64, kl []float64) (out []float64, flat []bool) {
	totals := g.Totals(rewards)
	for i := range totals {
		if len(o.RewardClipRange) == 2 && !math.IsNaN(totals[i]) {
			totals[i] = min(max(totals[i], o.RewardClipRange[0]), o.RewardClipRange[1])
		}
		if o.Beta != 0 {
			totals[i] -= o.Beta * kl[i]
		}
	}
	n := g.NumGenerations
	out, flat = make([]float64, len(totals)), make([]bool, len(totals))
	for from := 0; from < len(totals); from += n {
		group := totals[from : from+n]
		_, std := Moments(group)
		sum, count := 0.0, 0
		for _, x := range group {
			if !math.IsNaN(x) {
				sum, count = sum+x, count+1
			}
		}
		for i, x := range group {
			out[from+i], flat[from+i] = x-(sum-x)/float64(count-1), std <= 1e-8
		}
	}
	if o.NormalizeAdvantages {
		mean, std := Moments(out)
		for i := range out {
			out[i] = (out[i] - mean) / (std + stdAdd)
		}
	}
	return scored(out), flat
}
