package prepare

import (
	"strings"
	"testing"
)

// TestHeavyRules: a rule that takes more than 30 % of what its stage was given is named with its commonest reason; what cannot be read,
// and a handful of documents, is not.
func TestHeavyRules(t *testing.T) {
	got := HeavyRules([]Stage{
		{Name: "read", In: 100, Rejected: map[string]int64{"empty_text": 60, "field.score": 31}},
		{Name: "clean", In: 40, Rejected: map[string]int64{"gopher_quality.a": 5, "gopher_quality.b": 8, "length.too_few_words": 12}},
		{Name: "exact", In: 9, Rejected: map[string]int64{"exact.duplicate": 9}},
		{Name: "tokenize", In: 40, Rejected: map[string]int64{"tokenize.nothing_to_learn": 40}},
	})
	if len(got) != 2 || got[0].Rule != "field" || got[0].Taken != 31 {
		t.Fatalf("%+v", got)
	}
	if h := got[1]; h.Rule != "gopher_quality" || h.Taken != 13 || h.Of != 40 || h.Reason != "b" || h.Most != 8 ||
		!strings.Contains(h.String(), "13 of 40 documents (32 %), 8 of them as b") {
		t.Errorf("%+v: %s", h, h)
	}
}
