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
		}{{"exact match", ExactMatch(c.Prediction, c.Golds...), c.ExactMatch}, {"F1 v1", AnswerF1V1(c.Prediction, c.Golds...), c.V1},
			{"F1 v2", AnswerF1(c.Prediction, c.Golds...), c.V2}} {
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
	m, err := NewMatch(got, refs, "####", MatchSQuAD)
	if err != nil || m.Questions != 5 || m.ExactMatch != 0.6 || math.Abs(m.F1-(3+2.0/3)/5) > 1e-12 {
		t.Errorf("%+v", m)
	}
}

// TestNumberAnswer has GSM8K's rule, case by case: what its evaluation's expression takes, and what it does not.
func TestNumberAnswer(t *testing.T) {
	for _, c := range []struct {
		text, delimiter, want string
		found                 bool
	}{
		{"2 + 2 = 4\n#### 4", "####", "4", true},
		{"#### 1,234,567", "####", "1234567", true},
		{"#### $1,000.", "####", "1000", true},
		{"#### -3.5 apples", "####", "-3.5", true},
		{"#### -$3", "####", "-3", true},
		{"#### 1.5", "####", "1.5", true},
		{"#### 18.0", "####", "18.0", true},
		{"#### 5\nmore\n#### 6", "####", "5", true}, // the first, as re.search
		{"####\n#### 6", "####", "6", true},
		{"#### five 5", "####", "", false},
		{"the answer is 7", "####", "", false},
		{"#### .", "####", "", false},
		{"It costs $1,200 and then 7.", "", "7", true},
		{"It is -12", "", "-12", true},
		{"none.", "", "", false},
	} {
		if got, found := NumberAnswer(c.text, c.delimiter); got != c.want || found != c.found {
			t.Errorf("%q: %q %v, want %q %v", c.text, got, found, c.want, c.found)
		}
	}
	refs := []string{"#### 15", "#### 1,000", "#### -4", "#### 18", "x #### 7"}
	m, err := NewMatch([]string{"#### 1.5", "#### $1000", "#### 4", "#### 18.0", "so\n#### 7 apples"}, refs, "####", MatchNumber)
	if err != nil || m.ExactMatch != 0.4 || m.F1 != 0 || m.Rule != MatchNumber {
		t.Errorf("%+v %v", m, err)
	}
	// why there is another rule
	if m, err := NewMatch([]string{"#### 1.5"}, refs[:1], "####", MatchSQuAD); err != nil || m.ExactMatch != 1 {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := NewMatch([]string{"1"}, []string{"one"}, "", MatchNumber); err == nil {
		t.Error("a right answer without a number")
	}
}
