package prepare

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// HeavyShare is the share of a stage's documents above which what one rule takes is worth a warning: most corpora are better than that,
// and the rule's thresholds are then of another kind of text, or another language.
const HeavyShare = 0.3

// Heavy is a rule, or a step of deduplication, that takes more than [HeavyShare] of the documents it is given.
type Heavy struct {
	Rule, Reason string // Reason is that of most of them
	Taken, Of    int64
	Most         int64 // by Reason
}

// heavyLeast is how many documents a stage must be given, so that a share says something.
const heavyLeast = 10

// HeavyRules finds such rules in a funnel, in the order of its stages. What could not be read is max_bad_fraction's to judge.
func HeavyRules(funnel []Stage) (out []Heavy) {
	for _, s := range funnel {
		by := map[string]*Heavy{}
		for _, k := range slices.Sorted(maps.Keys(s.Rejected)) {
			rule, reason, ok := strings.Cut(k, ".")
			if !ok || rule == "tokenize" || rule == "mix" {
				continue
			}
			if by[rule] == nil {
				by[rule] = &Heavy{Rule: rule, Of: s.In}
			}
			h := by[rule]
			h.Taken += s.Rejected[k]
			if s.Rejected[k] > h.Most {
				h.Reason, h.Most = reason, s.Rejected[k]
			}
		}
		for _, rule := range slices.Sorted(maps.Keys(by)) {
			if h := by[rule]; h.Of >= heavyLeast && float64(h.Taken) > HeavyShare*float64(h.Of) {
				out = append(out, *h)
			}
		}
	}
	return out
}

// String says what the rule took, and what to do.
func (h Heavy) String() string {
	s := fmt.Sprintf("the rule %s takes %d of %d documents (%.0f %%)", h.Rule, h.Taken, h.Of, 100*float64(h.Taken)/float64(h.Of))
	if h.Reason != "" && h.Reason != h.Rule {
		s += fmt.Sprintf(", %d of them as %s", h.Most, h.Reason)
	}
	return s + ": look at some with adaptflow inspect OUTPUT/rejects; where they are good, change the rule's settings or take the " +
		"profile for this kind of text (clean: web, docs, books, chat or code)"
}
