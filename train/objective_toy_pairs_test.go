package train

import "math"

func init() {
	Objectives = append(Objectives, ObjectiveRow{Name: "toy_pairs", Doc: "the first of two documents rather than the second", New: func() Objective { return &toyPairs{Beta: 0.1} }})
}

// toyPairs prefers the first document of each pair to the second, relative to the base with the adapter off: DPO's sigmoid loss (Rafailov et al. 2023).
type toyPairs struct {
	Beta float64 `json:"beta"`
}

func (o *toyPairs) Spec() Spec {
	return Spec{Group: 2, Reference: true, MeanLogit: true, NoDropout: true, Metrics: []string{"rewards/accuracies", "rewards/margins", "logits/chosen"}}
}

// Items counts pairs.
func (o *toyPairs) Items(b *Batch) int { return b.Docs() / 2 }

// margin is how much more the adapter raises the first document of a pair than the second.
func (o *toyPairs) margin(b *Batch, chosen int) float64 {
	return o.Beta * (b.Sum(b.LogP, chosen) - b.Sum(b.Reference, chosen) - b.Sum(b.LogP, chosen+1) + b.Sum(b.Reference, chosen+1))
}

func (o *toyPairs) Loss(b *Batch, items int, coef []float32) (sum float64) {
	for d := 0; d < b.Docs(); d += 2 {
		m := o.margin(b, d)
		sum += math.Log1p(math.Exp(-m))
		g := float32(-o.Beta / (1 + math.Exp(m)) / float64(items))
		for k, sign := range []float32{1, -1} {
			from, to := b.Rows(d + k)
			for i := from; i < to; i++ {
				coef[i] = sign * g
			}
		}
	}
	return sum
}

func (o *toyPairs) Measure(b *Batch, note func(string, float64, int)) {
	for d := 0; d < b.Docs(); d += 2 {
		m, right := o.margin(b, d), 0.0
		if m > 0 {
			right = 1
		}
		note("rewards/accuracies", right, 1)
		note("rewards/margins", m, 1)
		from, to := b.Rows(d)
		note("logits/chosen", b.Sum(b.Step.Stats.MeanLogit, d), to-from)
	}
}
