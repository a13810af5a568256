package evaluate

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// TestGoldenSquad compares normalisation, exact match and both F1 with SQuAD's evaluation scripts.
func TestGoldenSquad(t *testing.T) {
	cases := golden.JSON[[]struct {
		Prediction string
		Golds      []string
		Normalized []string
		ExactMatch float64 `json:"exact_match"`
		V1         float64 `json:"f1_squad_v1"`
		V2         float64 `json:"f1_squad_v2"`
	}](t, filepath.Join(golden.Root(t, "testdata"), "metrics", "squad.json"))
	for _, c := range cases {
		for i, s := range append([]string{c.Prediction}, c.Golds...) {
			if got := NormalizeAnswer(s); got != c.Normalized[i] {
				t.Errorf("%q: %q, want %q", s, got, c.Normalized[i])
			}
		}
		for _, m := range []struct {
			name      string
			got, want float64
		}{{"exact match", ExactMatch(c.Prediction, c.Golds...), c.ExactMatch}, {"F1 v1", AnswerF1V1(c.Prediction, c.Golds...), c.V1}, {"F1 v2", AnswerF1(c.Prediction, c.Golds...), c.V2}} {
			if math.Abs(m.got-m.want) > 1e-12 {
				t.Errorf("%q: %s %v, want %v", c.Prediction, m.name, m.got, m.want)
			}
		}
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	t.Logf("%d cases", len(cases))
}

func TestMatch(t *testing.T) {
	refs := []string{"2 + 2 = 4\n#### 4", "#### 1,000", "#### 7", "#### 5", "no delimiter"}
	got := []string{"so\n#### 4\nand more", "#### $1000.", "the answer is 7", "#### 5 6", "No delimiter."}
	m := NewMatch(got, refs, "####")
	if m.Questions != 5 || m.ExactMatch != 0.6 || math.Abs(m.F1-(3+2.0/3)/5) > 1e-12 {
		t.Errorf("%+v", m)
	}
}
