package pipelines

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/measure"
)

// figure prints a number for people: a dash for what is none.
func figure(format string, x float64) string { return measure.Figure(format, x) }

// beforeAfter prints two numbers for a model card.
func beforeAfter(before, after float64) string {
	return figure("%.2f", before) + " before, " + figure("%.2f", after) + " after"
}

// bar is the width of the bar of a of two numbers; none has none.
func bar(a, b float64) string {
	share := 100 * a / max(a, b)
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return "0%"
	}
	return fmt.Sprintf("%.1f%%", share)
}

// expNLL is the perplexity of a mean negative log-likelihood; of 0, which stands for null in what was read again, it is none.
func expNLL(nll float64) float64 {
	if nll == 0 {
		return math.NaN()
	}
	return math.Exp(nll)
}
