package train

func init() {
	RegisterObjective(ObjectiveRow{Name: "toy_offline", Doc: "the next token, the more the less certain the model is",
		New: func() Objective { return &toyOffline{Power: 1} }})
}

// toyOffline weighs each token's negative log-likelihood by a power of the entropy of what the model expects there, which has no gradient.
type toyOffline struct {
	Power int `json:"power"`
}

func (o *toyOffline) Spec() Spec { return Spec{Entropy: true, Metrics: []string{"entropy"}} }

func (o *toyOffline) Loss(b *Batch, items int, coef []float32) (sum float64) {
	for i, h := range b.Step.Stats.Entropy {
		w := 1.0
		for range o.Power {
			w *= float64(h)
		}
		sum -= w * float64(b.LogP[i])
		coef[i] = float32(-w / float64(items))
	}
	return sum
}

func (o *toyOffline) Measure(b *Batch, note func(string, float64, int)) {
	for _, h := range b.Step.Stats.Entropy {
		note("entropy", float64(h), 1)
	}
}
