package train

// Loss turns the log-probabilities of a step's labels into the loss and the coefficients of their gradients. items is the number
// of supervised tokens of the whole optimiser step, over all micro-batches and replicas (Hugging Face's num_items_in_batch).
type Loss func(logp []float32, items int, coef []float32) (sum float64)

// losses is the table of losses over log-probabilities a token.
var losses = map[string]Loss{"sft": NLL}

// NLL is the mean negative log-likelihood, the loss of causal language models: it returns the sum, which the caller divides by items.
func NLL(logp []float32, items int, coef []float32) float64 {
	sum := 0.0
	c := float32(-1 / float64(items))
	for i, l := range logp {
		sum -= float64(l)
		coef[i] = c
	}
	return sum
}
