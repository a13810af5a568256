package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// TestRowStats compares entropies and mean logits with those of the program's logits, over two tiles of the vocabulary and several chunks
// of rows; asking for them changes no bit of log p and of the gradients, with labels and with targets.
func TestRowStats(t *testing.T) {
	m := small()
	m.vocab, m.softcap = headTile+40, 3
	lengths := make([]int, 14)
	for i := range lengths {
		lengths[i] = 40 + i
	}
	s := m.step(lengths...)
	if len(s.Rows) <= headRows {
		t.Fatalf("%d rows are one chunk", len(s.Rows))
	}
	params := NewParams(1)
	score, err := Compile(m, nil, params, Options{Mode: ModeLogits, Caps: caps(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer score.Close()
	logits := slices.Clone(score.Forward(&Step{Tokens: s.Tokens, Positions: s.Positions, Docs: s.Docs, Rows: s.Rows}, false))
	p := pool.New(2)
	defer p.Close()
	n := len(s.Rows)
	for _, soft := range []bool{false, true} {
		s.Targets, s.Stats = nil, nil
		if soft {
			s.Targets = targets(n, m.vocab)
		}
		want, wantGrads := run(t, m, s, Options{Pool: p})
		st := &RowStats{Entropy: make([]float32, n), MeanLogit: make([]float32, n-1)} // as many as there is room for
		s.Stats = st
		got, grads := run(t, m, s, Options{})
		equalBits(t, "gradients", wantGrads, grads)
		equalBits(t, "log p", map[string][]float32{"": want}, map[string][]float32{"": got})
		for i := range n {
			row, sum, shifted, total := logits[i*m.vocab:(i+1)*m.vocab], 0.0, 0.0, 0.0
			for _, l := range row {
				e := math.Exp(float64(l))
				sum, shifted, total = sum+e, shifted+e*float64(l), total+float64(l)
			}
			if h := math.Log(sum) - shifted/sum; math.Abs(h-float64(st.Entropy[i])) > 1e-5 {
				t.Fatalf("row %d: entropy %g, want %g", i, st.Entropy[i], h)
			}
			if mean := total / float64(m.vocab); i < n-1 && math.Abs(mean-float64(st.MeanLogit[i])) > 1e-5 {
				t.Fatalf("row %d: mean logit %g, want %g", i, st.MeanLogit[i], mean)
			}
		}
	}
}
