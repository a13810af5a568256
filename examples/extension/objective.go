package main

import (
	"math"

	"github.com/adaptflow/adaptflow/train"
)

func init() {
	train.RegisterObjective(train.ObjectiveRow{Name: "focal", New: func() train.Objective { return &focal{Gamma: 1} },
		Doc: "the next token; those that the model knows count less"})
}

// focal is the loss -(1-p)^γ·log p of each token (Lin et al. 2017, arXiv:1708.02002).
type focal struct {
	Gamma float64 `json:"gamma" help:"how much less known tokens count, at least 1"`
}

// Spec implements train.Objective.
func (o *focal) Spec() train.Spec { return train.Spec{Metrics: []string{"probability"}} }

// Loss implements train.Objective.
func (o *focal) Loss(b *train.Batch, items int, coef []float32) (sum float64) {
	for i, l := range b.LogP {
		p, logp := math.Exp(float64(l)), float64(l)
		sum -= math.Pow(1-p, o.Gamma) * logp
		coef[i] = float32((o.Gamma*math.Pow(1-p, o.Gamma-1)*p*logp - math.Pow(1-p, o.Gamma)) / float64(items))
	}
	return sum
}

// Measure implements train.Measurer: the mean probability of the tokens.
func (o *focal) Measure(b *train.Batch, note func(metric string, sum float64, n int)) {
	for _, l := range b.LogP {
		note("probability", math.Exp(float64(l)), 1)
	}
}
