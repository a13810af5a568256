package continual

import (
	"math"
	"strings"
	"testing"
)

func ppl(x float64) *Score { return &Score{Perplexity: x} }

func TestDecide(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name           string
		limits         Limits
		base           float64
		before, domain float64
		general        float64
		want, reason   string
	}{
		{"within both", Limits{0.1, 0.05}, 80, 100, 90, 87.9, Accepted, ""},
		{"at the limit", Limits{0.25, 0.05}, 80, 100, 90, 100, Accepted, ""},
		{"general above the limit, though the domain gained", Limits{0.1, 0.05}, 80, 100, 50, 88.1, RolledBack,
			"general perplexity is 88.10, above the limit of 88.00 (+10.0 % of the base"},
		{"the limit is of the base, not of the version before", Limits{0, -1}, 80, 100, 100, 80.01, RolledBack, "general"},
		{"domain rises too much", Limits{0.1, 0.05}, 80, 100, 105.1, 80, RolledBack,
			"domain perplexity is 105.10, above the limit of 105.00"},
		{"domain rises a little", Limits{0.1, 0.05}, 80, 100, 104.9, 80, Accepted, ""},
		{"no limit on the domain", Limits{0.1, -1}, 80, 100, 900, 80, Accepted, ""},
		{"domain is not a number", Limits{0.1, -1}, 80, 100, nan, 80, RolledBack, "not a finite number"},
		{"general is infinite", Limits{0.1, 0.05}, 80, 100, 90, math.Inf(1), RolledBack, "not a finite number"},
	} {
		got, reason := c.limits.Decide(ppl(c.base), Scores{Domain: ppl(c.before), General: ppl(c.base)},
			Scores{Domain: ppl(c.domain), General: ppl(c.general)})
		if got != c.want || !strings.Contains(reason, c.reason) || (reason == "") != (c.want == Accepted) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, got, reason, c.want, c.reason)
		}
	}
	// Without a held-out set of the domain only the general limit counts.
	if got, _ := (Limits{0.1, 0.05}).Decide(ppl(80), Scores{}, Scores{General: ppl(81)}); got != Accepted {
		t.Error(got)
	}
}
