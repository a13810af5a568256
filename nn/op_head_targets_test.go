package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// targets are distributions for the first n wanted rows of a step over a vocabulary of v.
func targets(n, v int) []float32 {
	q := normal("targets", n*v, 1.5)
	for i := range n {
		_, sum := kernels.ExpRow(q[i*v:(i+1)*v], float32(math.Inf(-1)))
		kernels.Scale(nil, 1/sum, q[i*v:(i+1)*v])
	}
	return q
}

// TestTargetGradients checks the gradients of Σ q·log p, with labels for the last two rows.
func TestTargetGradients(t *testing.T) {
	for _, name := range []string{"llama", "softcap", "lowrank", "replace", "frozen head"} {
		t.Run(name, func(t *testing.T) {
			m := small()
			toys[name](&m)
			s := m.step(7, 1, 12)
			s.Targets = targets(len(s.Rows)-2, m.vocab)
			checkGradients(t, m, s)
		})
	}
}

// TestTargetsByLogits compares Σ q·log p, over two tiles of the vocabulary and two chunks of rows, with the sum over the program's logits,
// and targets that are all of a label with that label.
func TestTargetsByLogits(t *testing.T) {
	m := small()
	m.vocab, m.softcap, m.train = headTile+40, 3, true
	s := m.step(30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44)
	params := NewParams(1)
	score, err := Compile(m, nil, params, Options{Mode: ModeLogits, Caps: caps(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer score.Close()
	logits := slices.Clone(score.Forward(&Step{Tokens: s.Tokens, Positions: s.Positions, Docs: s.Docs, Rows: s.Rows}, false))
	s.Targets = targets(len(s.Rows), m.vocab)
	got, _ := run(t, m, s, Options{})
	for i := range s.Rows {
		row, sum, want := logits[i*m.vocab:(i+1)*m.vocab], 0.0, 0.0
		for j, l := range row {
			sum += math.Exp(float64(l))
			want += float64(l) * float64(s.Targets[i*m.vocab+j])
		}
		if want -= math.Log(sum); math.Abs(want-float64(got[i])) > 1e-5*math.Abs(want) {
			t.Errorf("row %d: %g, want %g", i, got[i], want)
		}
	}
	two := pool.New(2)
	defer two.Close()
	want, wantGrads := run(t, m, s, Options{Checkpoint: CheckpointNone})
	for what, o := range map[string]Options{"checkpointing": {Checkpoint: CheckpointAll}, "two threads": {Pool: two, Poison: true}} {
		l, g := run(t, m, s, o)
		equalBits(t, what, wantGrads, g)
		equalBits(t, what+", log p", map[string][]float32{"": want}, map[string][]float32{"": l})
	}
	clear(s.Targets)
	for i, l := range s.Labels {
		s.Targets[i*m.vocab+int(l)] = 1
	}
	soft, softGrads := run(t, m, s, Options{})
	s.Targets = nil
	hard, hardGrads := run(t, m, s, Options{})
	close := func(what string, a, b []float32) {
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 2e-5*math.Max(1, math.Abs(float64(b[i]))) {
				t.Errorf("%s: value %d is %g with a target and %g with a label", what, i, a[i], b[i])
				return
			}
		}
	}
	close("log p", soft, hard)
	for name := range hardGrads {
		close(name, softGrads[name], hardGrads[name])
	}
}
