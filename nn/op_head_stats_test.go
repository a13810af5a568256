package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// TestRowStats compares what a head tells of its rows with what follows from the program's logits, over two tiles of the vocabulary and
// several chunks of rows; asking for them changes no bit of log p and of the gradients, with labels and with targets.
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
	for i := 0; i < n; i += 7 { // labels that are the likeliest token
		row := logits[i*m.vocab : (i+1)*m.vocab]
		s.Labels[i] = int32(slices.Index(row, slices.Max(row)))
	}
	for _, soft := range []bool{false, true} {
		s.Targets, s.Stats = nil, nil
		if soft {
			s.Targets = targets(n, m.vocab)
		}
		want, wantGrads := run(t, m, s, Options{Pool: p})
		st := &RowStats{Entropy: make([]float32, n), MeanLogit: make([]float32, n-1), // as many as there is room for
			Squares: make([]float32, n), Top: make([]float32, n)}
		s.Stats = st
		got, grads := run(t, m, s, Options{})
		equalBits(t, "gradients", wantGrads, grads)
		equalBits(t, "log p", map[string][]float32{"": want}, map[string][]float32{"": got})
		tops := 0
		for i := range n {
			row, sum, shifted, total, squares := logits[i*m.vocab:(i+1)*m.vocab], 0.0, 0.0, 0.0, 0.0
			for _, l := range row {
				e := math.Exp(float64(l))
				sum, shifted, total, squares = sum+e, shifted+e*float64(l), total+float64(l), squares+e*e
			}
			if q := math.Log(squares / sum / sum); math.Abs(q-float64(st.Squares[i])) > 1e-5 {
				t.Fatalf("row %d: log of the sum of squares %g, want %g", i, st.Squares[i], q)
			}
			top := float32(0)
			if !soft && row[s.Labels[i]] == slices.Max(row) {
				top, tops = 1, tops+1
			}
			if st.Top[i] != top {
				t.Fatalf("row %d: top is %g, want %g", i, st.Top[i], top)
			}
			if h := math.Log(sum) - shifted/sum; math.Abs(h-float64(st.Entropy[i])) > 1e-5 {
				t.Fatalf("row %d: entropy %g, want %g", i, st.Entropy[i], h)
			}
			if mean := total / float64(m.vocab); i < n-1 && math.Abs(mean-float64(st.MeanLogit[i])) > 1e-5 {
				t.Fatalf("row %d: mean logit %g, want %g", i, st.MeanLogit[i], mean)
			}
		}
		if !soft && tops == 0 {
			t.Fatal("no label is the likeliest token")
		}
	}
}
