package pipelines

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/evaluate"
)

// figure prints a number for people: a dash for what is none.
func figure(format string, x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "–"
	}
	return fmt.Sprintf(format, x)
}

// change prints how much a number grew.
func change(after, before float64) string { return figure("%+.1f %%", 100*(after/before-1)) }

// bar is the width of the bar of a of two numbers; none has none.
func bar(a, b float64) string {
	share := 100 * a / max(a, b)
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return "0%"
	}
	return fmt.Sprintf("%.1f%%", share)
}

// beforeAfter prints two numbers for a model card.
func beforeAfter(before, after float64) string {
	return figure("%.2f", before) + " before, " + figure("%.2f", after) + " after"
}

// reasons says why scores are none; "" where they are.
func reasons(scores ...*evaluate.Score) string {
	for _, s := range scores {
		if s != nil && s.Reason != "" {
			return s.Reason
		}
	}
	return ""
}

// expNLL is the perplexity of a mean negative log-likelihood; of 0, which stands for null in what was read again, it is none.
func expNLL(nll float64) float64 {
	if nll == 0 {
		return math.NaN()
	}
	return math.Exp(nll)
}
