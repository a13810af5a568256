package nn

import (
	"math"
	"slices"
	"testing"
)

// TestScoreGradients checks the gradients of the labels' logits.
func TestScoreGradients(t *testing.T) {
	for _, name := range []string{"llama", "softcap", "lowrank", "replace", "frozen head"} {
		t.Run(name, func(t *testing.T) {
			m := small()
			toys[name](&m)
			s := m.step(7, 1, 12)
			s.Scores = true
			checkGradients(t, m, s)
		})
	}
}

// TestScoresAreLogits compares scores, over two tiles of the vocabulary, with the program's logits.
func TestScoresAreLogits(t *testing.T) {
	m := small()
	m.vocab, m.softcap = headTile+40, 3
	s := m.step(30, 31, 32)
	s.Labels[1] = int32(headTile + 7)
	score, err := Compile(m, nil, NewParams(1), Options{Mode: ModeLogits, Caps: caps(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer score.Close()
	logits := slices.Clone(score.Forward(&Step{Tokens: s.Tokens, Positions: s.Positions, Docs: s.Docs, Rows: s.Rows}, false))
	s.Scores = true
	got, _ := run(t, m, s, Options{})
	for i, k := range s.Labels {
		if want := logits[i*m.vocab+int(k)]; math.Abs(float64(got[i]-want)) > 1e-6 {
			t.Errorf("row %d: %g, want %g", i, got[i], want)
		}
	}
}
