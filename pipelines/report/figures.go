package report

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/measure"
)

// BeforeAfter prints two numbers for a model card.
func BeforeAfter(before, after float64) string {
	return measure.Figure("%.2f", before) + " before, " + measure.Figure("%.2f", after) + " after"
}

// Bar is the width of the bar of a of two numbers; none has none.
func Bar(a, b float64) string {
	share := 100 * a / max(a, b)
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return "0%"
	}
	return fmt.Sprintf("%.1f%%", share)
}

// Perplexity is the perplexity of a mean negative log-likelihood; of 0, which stands for null in what was read again, it is none.
func Perplexity(nll float64) float64 {
	if nll == 0 {
		return math.NaN()
	}
	return math.Exp(nll)
}
