package evaluate

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// TestGoldenChrF compares corpus and sentence scores with sacrebleu's.
func TestGoldenChrF(t *testing.T) {
	g := golden.JSON[struct {
		Hypotheses []string
		References [][]string // by reference, then by hypothesis
		Corpus     map[string]struct{ Score float64 }
		Sentence   map[string][]float64
	}](t, filepath.Join(golden.Root(t, "testdata"), "metrics", "sacrebleu.json"))
	refs := make([][]string, len(g.Hypotheses))
	for _, r := range g.References {
		for i, s := range r {
			refs[i] = append(refs[i], s)
		}
	}
	ws, beta3 := NewChrF(), NewChrF()
	ws.Whitespace, beta3.Beta = true, 3
	ran := 0
	check := func(name string, got, want float64) {
		ran++
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %v, sacrebleu has %v", name, got, want)
		}
	}
	for name, c := range map[string]*ChrF{"chrf": NewChrF(), "chrf++": NewChrFPlusPlus(), "chrf_ws": ws, "chrf_beta3": beta3} {
		want, ok := g.Corpus[name]
		if !ok {
			t.Fatalf("%s is not in the golden data", name)
		}
		check(name, c.Corpus(g.Hypotheses, refs), want.Score)
		for i, w := range g.Sentence[name] {
			check(name+" of "+g.Hypotheses[i], c.Sentence(g.Hypotheses[i], refs[i]...), w)
		}
	}
	t.Logf("chrF: %d cases ran", ran)
}

// TestChrFSmoothing has sacrebleu 2.6's numbers of settings that the golden data lacks.
func TestChrFSmoothing(t *testing.T) {
	eps := NewChrFPlusPlus()
	eps.EpsSmoothing, eps.Lowercase = true, true
	for _, c := range []struct {
		hypothesis, reference string
		want                  float64
	}{
		{"The (cat), sat!", "the cat sat\u001con", 27.02170216867865},
		{"ab", "abcdefg", 6.666666666666668},
		{"", "x", 7.500000000000001e-15},
		{"Ünïcode 日本語テスト。", "ÜNÏCODE 日本語のテスト。", 60.506086277754676},
	} {
		if got := eps.Sentence(c.hypothesis, c.reference); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%q: %v, want %v", c.hypothesis, got, c.want)
		}
	}
}
