package train

import "math"

func init() {
	RegisterObjective(ObjectiveRow{Name: "toy_rollouts", Doc: "answers of its own by their rewards",
		New: func() Objective { return &toyRollouts{Epsilon: 0.2, NumGenerations: 2} }})
}

// toyRollouts raises the tokens of answers by their advantage, as far as the ratio to their probability when they were sampled stays near
// 1: PPO's clipped objective (Schulman et al. 2017). Rows have the log-probabilities of sampling and the advantage of each answer.
type toyRollouts struct {
	Epsilon        float64 `json:"epsilon"`
	NumGenerations int     `json:"num_generations"`
}

func (o *toyRollouts) Spec() Spec {
	return Spec{Columns: []Column{{Name: "old_logps", PerToken: true}, {Name: "advantages"}}, Metrics: []string{"clip_ratio"}}
}

// Rollouts is for the kind of run that samples.
func (o *toyRollouts) Rollouts() Rollouts {
	return Rollouts{Prompts: 4, N: o.NumGenerations, MaxTokens: 8}
}

func (o *toyRollouts) each(b *Batch, f func(i int, ratio, advantage float64, clipped bool)) {
	old, advantages := b.Column("old_logps"), b.Column("advantages")
	for d := range b.Docs() {
		a := float64(advantages[d])
		from, to := b.Rows(d)
		for i := from; i < to; i++ {
			r := math.Exp(float64(b.LogP[i]) - float64(old[i]))
			f(i, r, a, a > 0 && r > 1+o.Epsilon || a < 0 && r < 1-o.Epsilon)
		}
	}
}

func (o *toyRollouts) Loss(b *Batch, items int, coef []float32) (sum float64) {
	o.each(b, func(i int, r, a float64, clipped bool) {
		if clipped {
			sum -= a * min(max(r, 1-o.Epsilon), 1+o.Epsilon)
			return
		}
		sum -= a * r
		coef[i] = float32(-a * r / float64(items))
	})
	return sum
}

func (o *toyRollouts) Measure(b *Batch, note func(string, float64, int)) {
	o.each(b, func(_ int, _, _ float64, clipped bool) {
		n := 0.0
		if clipped {
			n = 1
		}
		note("clip_ratio", n, 1)
	})
}
