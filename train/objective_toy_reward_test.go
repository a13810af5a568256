package train

import "math"

func init() {
	RegisterObjective(ObjectiveRow{Name: "toy_reward", Doc: "a score of the first of two documents above that of the second",
		New: func() Objective { return &toyReward{} }})
}

// toyReward is the objective of reward models (Bradley and Terry 1952): a document's score, which its last token's label names a row of the
// head for, is above that of the next.
type toyReward struct{}

func (*toyReward) Spec() Spec {
	return Spec{Pack: ClassStepFrom, Group: 2, Scores: true, Metrics: []string{"accuracy", "margin"}}
}

func (*toyReward) Items(b *Batch) int { return b.Docs() / 2 }

func (*toyReward) Loss(b *Batch, items int, coef []float32) (sum float64) {
	for d := 0; d < b.Docs(); d += 2 {
		m := float64(b.LogP[d] - b.LogP[d+1])
		sum += math.Log1p(math.Exp(-m))
		g := float32(1 / (1 + math.Exp(m)) / float64(items))
		coef[d], coef[d+1] = -g, g
	}
	return sum
}

func (*toyReward) Measure(b *Batch, note func(string, float64, int)) {
	for d := 0; d < b.Docs(); d += 2 {
		m, right := float64(b.LogP[d]-b.LogP[d+1]), 0.0
		if m > 0 {
			right = 1
		}
		note("accuracy", right, 1)
		note("margin", m, 1)
	}
}
