package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
)

// sharedStep packs documents of tokens, each with the rows from its number of unwanted ones on.
func sharedStep(docs [][]int32, silent []int) *Step {
	s := &Step{}
	for i, ids := range docs {
		at := int32(len(s.Tokens))
		s.Docs = append(s.Docs, kernels.Doc{Start: at, End: at + int32(len(ids))})
		for t, id := range ids {
			s.Tokens, s.Positions = append(s.Tokens, id), append(s.Positions, int32(t))
			if t >= silent[i] && t+1 < len(ids) {
				s.Rows, s.Labels = append(s.Rows, at+int32(t)), append(s.Labels, ids[t+1])
			}
		}
	}
	return s
}

// TestShare: a step in which prompts are computed once has the log-probabilities of the whole one to the bit, and its gradients.
func TestShare(t *testing.T) {
	prompt := func(n, seed int) (out []int32) {
		for i := range n {
			out = append(out, int32((7*i+seed)%61))
		}
		return out
	}
	join := func(a []int32, b ...int32) []int32 { return slices.Concat(a, b) }
	p, q := prompt(11, 3), prompt(9, 20)
	for name, c := range map[string]struct {
		docs   [][]int32
		silent []int
		group  int
		left   []int // rows of each document that remain
	}{
		"pairs": {[][]int32{join(p, 5, 6, 7), join(p, 8, 9), join(q, 1, 2), join(q, 1, 4, 4, 9)}, []int{10, 10, 8, 8}, 2,
			[]int{14, 5, 11, 5}},
		"a pair whose answers begin alike": {[][]int32{join(p, 5, 6, 7), join(p, 5, 6, 9)}, []int{12, 12}, 2, []int{14, 2}},
		"the prompt has a loss":            {[][]int32{join(p, 5, 6), join(p, 8)}, []int{0, 10}, 2, []int{13, 4}},
		"no group": {[][]int32{join(p, 5, 6), join(q, 7), join(p, 8), join(p[:10], 4, 8), join(q, 9)}, []int{10, 8, 10, 9, 8}, 0,
			[]int{13, 10, 4, 4, 2}},
		"too short": {[][]int32{{1, 2, 3}, {1, 2, 3, 4, 5, 6}}, []int{2, 2}, 2, []int{3, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			m := small()
			m.prefix = 0
			s := sharedStep(c.docs, c.silent)
			s.Group = c.group
			got := s.Share()
			var left []int
			for _, d := range got.Docs {
				left = append(left, int(d.End-d.Start))
			}
			if !slices.Equal(left, c.left) {
				t.Errorf("%v rows remain, want %v", left, c.left)
			}
			want, wg := run(t, m, s, Options{})
			have, hg := run(t, m, got, Options{})
			for i := range want {
				if math.Float32bits(want[i]) != math.Float32bits(have[i]) {
					t.Errorf("label %d: %g shared, %g alone", i, have[i], want[i])
				}
			}
			for name, a := range wg {
				most := 0.0
				for _, x := range a {
					most = max(most, math.Abs(float64(x)))
				}
				for i, x := range a {
					if d := math.Abs(float64(x - hg[name][i])); !(d <= 1e-5*max(most, 1e-3)) {
						t.Fatalf("%s: gradient %d is %g shared, %g alone", name, i, hg[name][i], x)
					}
				}
			}
		})
	}
}

// TestSharesRows: ops by which a row depends on its text say so.
func TestSharesRows(t *testing.T) {
	for op, want := range map[Op][2]bool{&Dropout{P: 0.1}: {true, false}, &Dropout{}: {true, true}, &Rope{}: {true, true},
		&DynamicRope{}: {false, false}, &LongRope{}: {false, false}} {
		x, ok := op.(Textual)
		for i, training := range []bool{false, true} {
			if shares := !ok || !x.ByText(training); shares != want[i] {
				t.Errorf("%T, training %v: %v", op, training, shares)
			}
		}
	}
}
