package train

// SFT is the objective of causal language models: the mean negative log-likelihood of the supervised tokens.
type SFT struct{}

// Spec implements [Objective].
func (SFT) Spec() Spec { return Spec{} }

// Loss implements [Objective].
func (SFT) Loss(b *Batch, items int, coef []float32) float64 { return NLL(b.LogP, items, coef) }

// NLL is the negative log-likelihood, summed, with the coefficients of its mean over items.
func NLL(logp []float32, items int, coef []float32) float64 {
	sum := 0.0
	c := float32(-1 / float64(items))
	for i, l := range logp {
		sum -= float64(l)
		coef[i] = c
	}
	return sum
}
