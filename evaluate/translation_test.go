package evaluate

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// sacrebleuCases are the golden cases of sacrebleu, references by hypothesis.
type sacrebleuCases struct {
	Hypotheses []string
	References [][]string
	Corpus     map[string]struct {
		Score, BP                  float64
		Counts, Totals, Precisions []float64
		SysLen                     int `json:"sys_len"`
		RefLen                     int `json:"ref_len"`
	}
	Sentence map[string][]float64
}

func loadSacrebleu(t *testing.T) sacrebleuCases {
	t.Helper()
	g := golden.JSON[sacrebleuCases](t, filepath.Join(golden.Root(t, "testdata"), "metrics", "sacrebleu.json"))
	refs := make([][]string, len(g.Hypotheses))
	for _, r := range g.References {
		for i, s := range r {
			refs[i] = append(refs[i], s)
		}
	}
	g.References = refs
	return g
}

func TestGoldenBLEU(t *testing.T) {
	g := loadSacrebleu(t)
	for name, b := range map[string]*BLEU{
		"bleu_13a": NewBLEU(), "bleu_intl": {Tokenize: "intl", SmoothMethod: "exp"}, "bleu_char": {Tokenize: "char", SmoothMethod: "exp"},
		"bleu_none": {Tokenize: "none", SmoothMethod: "exp"}, "bleu_zh": {Tokenize: "zh", SmoothMethod: "exp"},
		"bleu_lc":        {Tokenize: "13a", SmoothMethod: "exp", Lowercase: true},
		"bleu_effective": {Tokenize: "13a", SmoothMethod: "exp", EffectiveOrder: true},
		"bleu_add_k":     {Tokenize: "13a", SmoothMethod: "add-k", SmoothValue: 1},
		"bleu_floor":     {Tokenize: "13a", SmoothMethod: "floor", SmoothValue: 0.1},
	} {
		want, ok := g.Corpus[name]
		if !ok {
			t.Fatalf("%s is not in the golden data", name)
		}
		got := b.Corpus(g.Hypotheses, g.References)
		if !near(got.Score, want.Score) || !near(got.BP, want.BP) || !slices.Equal(got.Counts[:], want.Counts) ||
			!slices.Equal(got.Totals[:], want.Totals) ||
			!slices.EqualFunc(got.Precisions[:], want.Precisions, near) || got.SysLen != want.SysLen || got.RefLen != want.RefLen {
			t.Errorf("%s: %+v\nsacrebleu has %+v", name, got, want)
		}
		for i, w := range g.Sentence[name] {
			if s := b.Sentence(g.Hypotheses[i], g.References[i]...).Score; !near(s, w) {
				t.Errorf("%s of %q: %v, sacrebleu has %v", name, g.Hypotheses[i], s, w)
			}
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*max(1, math.Abs(b)) }

func TestGoldenTER(t *testing.T) {
	g := loadSacrebleu(t)
	for name, m := range map[string]*TER{"ter": {}, "ter_norm": {Normalized: true, NoPunct: true}, "ter_case": {CaseSensitive: true}} {
		want, ok := g.Corpus[name]
		if !ok {
			t.Fatalf("%s is not in the golden data", name)
		}
		if got := m.Corpus(g.Hypotheses, g.References); !near(got, want.Score) {
			t.Errorf("%s: %v, sacrebleu has %v", name, got, want.Score)
		}
		for i, w := range g.Sentence[name] {
			if s := m.Sentence(g.Hypotheses[i], g.References[i]...); !near(s, w) {
				t.Errorf("%s of %q: %v, sacrebleu has %v", name, g.Hypotheses[i], s, w)
			}
		}
	}
}

// TestTERShifts: a shifted phrase is one edit, wherever it goes.
func TestTERShifts(t *testing.T) {
	for _, c := range []struct {
		hypothesis, reference string
		edits                 int
	}{
		{"d e f a b c", "a b c d e f", 1},
		{"a b c", "", 3},
		{"", "a b", 2},
		{"b c d e a", "a b c d e", 1},
		{"a x b c d", "a b c d x", 1},
		{"a b c d", "a b c d", 0},
	} {
		if got := terEdits((&TER{}).words(c.hypothesis), (&TER{}).words(c.reference)); got != c.edits {
			t.Errorf("%q to %q: %d edits, want %d", c.hypothesis, c.reference, got, c.edits)
		}
	}
}

func TestGoldenROUGE(t *testing.T) {
	for _, c := range golden.JSON[[]struct {
		Target, Prediction string
		UseStemmer         bool `json:"use_stemmer"`
		Scores             ROUGE
	}](t, filepath.Join(golden.Root(t, "testdata"), "metrics", "rouge.json")) {
		got := ScoreROUGE(c.Target, c.Prediction, c.UseStemmer)
		same := func(a, b ROUGEScore) bool {
			return near(a.Precision, b.Precision) && near(a.Recall, b.Recall) && near(a.FMeasure, b.FMeasure)
		}
		if w := c.Scores; !same(got.ROUGE1, w.ROUGE1) || !same(got.ROUGE2, w.ROUGE2) || !same(got.L, w.L) || !same(got.LSum, w.LSum) {
			t.Errorf("%q and %q, stems %v: %+v\nrouge_score has %+v", c.Target, c.Prediction, c.UseStemmer, got, w)
		}
	}
}

// TestPorterStem has the examples of Porter's paper and of NLTK's extensions.
func TestPorterStem(t *testing.T) {
	for word, want := range map[string]string{
		"caresses": "caress", "ponies": "poni", "ties": "tie", "cats": "cat", "feed": "feed", "agreed": "agre", "plastered": "plaster",
		"bled": "bled", "motoring": "motor", "sing": "sing",
		"conflated": "conflat", "troubled": "troubl", "sized": "size", "hopping": "hop", "tanned": "tan", "falling": "fall",
		"hissing": "hiss", "fizzed": "fizz", "failing": "fail",
		"filing": "file", "happy": "happi", "sky": "sky", "relational": "relat", "conditional": "condit", "rational": "ration",
		"digitizer": "digit", "radically": "radic",
		"differently": "differ", "vietnamization": "vietnam", "operator": "oper", "feudalism": "feudal", "hopefulness": "hope",
		"formality": "formal", "sensibility": "sensibl",
		"triplicate": "triplic", "formative": "form", "electrical": "electr", "goodness": "good", "revival": "reviv", "allowance": "allow",
		"airliner": "airlin", "adjustment": "adjust",
		"adoption": "adopt", "communism": "commun", "probate": "probat", "rate": "rate", "cease": "ceas", "controlling": "control",
		"roll": "roll", "dying": "die", "died": "die",
		"cried": "cri", "theology": "theolog", "geology": "geolog", "enjoy": "enjoy", "carefully": "care",
	} {
		if got := porterStem(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}
