package nn

import (
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
)

// heads is a program of the ops that work head by head: a fused projection taken apart, its parts normalised and put together again.
type heads struct{ toy }

func (m heads) Wire(b *Builder) {
	const n, hd = 3, 8
	p := func(name string, rows, cols int) Ref {
		return b.Param(name, rows, cols, func(d []float32) {
			copy(d, normal(name, len(d), 0.5))
			if rows == 1 {
				for i := range d {
					d[i]++
				}
			}
		})
	}
	x := b.Apply(&Embedding{V: m.vocab, D: m.d, TrainW: true}, p("wte", m.vocab, m.d))
	x = b.Apply(Add{}, x, b.Apply(&OffsetPositions{W: normal("wpe", 40*m.d, 1), P: 38, D: m.d, Offset: 2}))
	f := b.Apply(&Linear{In: m.d, Out: 3 * n * hd, TrainW: true}, x, p("qkv", 3*n*hd, m.d))
	var part [3]Ref
	for k := range part {
		part[k] = b.Apply(&HeadColumns{From: k * hd, To: (k + 1) * hd, Stride: 3 * hd}, f)
	}
	for k, name := range []string{"q_norm", "k_norm"} {
		part[k] = b.Apply(&HeadNorm{RMSNorm{D: hd, Eps: 1e-5, TrainW: true, AddOne: k == 1}}, part[k], p(name, 1, hd))
	}
	inv := []float64{1, 0.3, 0.1}
	part[0] = b.Apply(&LongRope{Heads: n, HeadDim: hd, RotaryDim: 6, Short: kernels.NewRopeTable(inv, 64, 1.2),
		Long: kernels.NewRopeTable([]float64{0.5, 0.2, 0.03}, 64, 1.1), Limit: 8}, part[0])
	part[1] = b.Apply(&DynamicRope{Heads: n, HeadDim: hd, RotaryDim: 6, Table: kernels.NewRopeTable(inv, 64, 1), Limit: 8,
		Frequencies: func(length int) []float64 { return []float64{1, 2 / float64(length), 0.5 / float64(length)} }}, part[1])
	y := b.Apply(Add{}, b.Apply(&GatedAct{}, part[0], part[1]), part[2])
	b.Finish(b.Apply(&Head{W: frozen("head", m.vocab, n*hd), V: m.vocab, D: n * hd}, y))
}

func TestHeadOpsGradients(t *testing.T) {
	m := heads{small()}
	m.d = 24
	s := m.step(7, 1, 12)
	if n := checkGradients(t, m, s); n != 4 {
		t.Fatalf("%d parameters", n)
	}
}

// TestHeadOpsByHand compares the ops with sums written out.
func TestHeadOpsByHand(t *testing.T) {
	s := &Step{Tokens: []int32{0, 0}, Positions: []int32{3, 0}}
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	out := make([]float32, 4)
	(&HeadColumns{From: 1, To: 2, Stride: 3}).Forward(&Work{Step: s, In: [][]float32{x}, Out: out})
	if want := []float32{2, 5, 8, 11}; !slices.Equal(out, want) {
		t.Errorf("columns %v, want %v", out, want)
	}
	(&OffsetPositions{W: x, P: 4, D: 2, Offset: 2}).Forward(&Work{Step: s, Out: out})
	if want := []float32{11, 12, 5, 6}; !slices.Equal(out, want) {
		t.Errorf("positions %v, want %v", out, want)
	}
	n := &HeadNorm{RMSNorm{W: []float32{1, 2}, D: 2}}
	p := n.Plan([]Shape{{Rows: T, Cols: 6}}, []bool{true})
	if p.Saved[0].Cols != 3 {
		t.Fatalf("%d sums a row, want one for each of 3 heads", p.Saved[0].Cols)
	}
	y, saved := make([]float32, 12), make([]float32, 6)
	n.Forward(&Work{Step: s, In: [][]float32{{3, 3, 0, 5, -2, 2, 1, 1, 1, 1, 1, 1}}, Out: y, Saved: [][]float32{saved}})
	want := []float32{1, 2, 0, 2.828427, -1, 2, 1, 2, 1, 2, 1, 2}
	for i := range want {
		if d := y[i] - want[i]; d > 1e-5 || d < -1e-5 {
			t.Errorf("norm %v, want %v", y, want)
			break
		}
	}
}

// TestLongRopeChoosesByDocument: of documents of 3, 5 and 2 positions, and one of one token after 4 in the cache, those beyond Limit 4 turn
// by the long table.
func TestLongRopeChoosesByDocument(t *testing.T) {
	s := &Step{Positions: []int32{0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 4}, Tokens: make([]int32, 11),
		Docs: []kernels.Doc{{End: 3}, {Start: 3, End: 8}, {Start: 8, End: 10}, {Start: 10, End: 11, Past: 4}}}
	short, long := kernels.NewRopeTable([]float64{1, 0.5}, 8, 1), kernels.NewRopeTable([]float64{0.25, 0.125}, 8, 1)
	x, y := normal("x", 11*8, 1), make([]float32, 11*8)
	op := &LongRope{Heads: 2, HeadDim: 4, RotaryDim: 4, Short: short, Long: long, Limit: 4}
	op.Forward(&Work{Step: s, In: [][]float32{x}, Out: y})
	want := make([]float32, 8)
	for r, pos := range s.Positions {
		table := short
		if r >= 3 && r < 8 || r == 10 {
			table = long
		}
		kernels.Rope(nil, want, x[r*8:(r+1)*8], 1, 2, 4, 4, []int32{pos}, table, false, false)
		if !slices.Equal(y[r*8:(r+1)*8], want) {
			t.Errorf("row %d, position %d: %v, want %v", r, pos, y[r*8:(r+1)*8], want)
		}
	}
}

// TestDynamicRopeByDocument: of the same documents each beyond Limit 4 turns by the frequencies of its own length, whatever is packed
// beside it.
func TestDynamicRopeByDocument(t *testing.T) {
	s := &Step{Positions: []int32{0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 5}, Tokens: make([]int32, 11),
		Docs: []kernels.Doc{{End: 3}, {Start: 3, End: 8}, {Start: 8, End: 10}, {Start: 10, End: 11, Past: 5}}}
	short := kernels.NewRopeTable([]float64{1, 0.5}, 8, 1)
	by := func(length int) []float64 { return []float64{1, 1 / float64(length)} }
	x, y := normal("x", 11*8, 1), make([]float32, 11*8)
	(&DynamicRope{Heads: 2, HeadDim: 4, RotaryDim: 4, Table: short, Limit: 4, Frequencies: by}).Forward(&Work{Step: s,
		In: [][]float32{x}, Out: y})
	want := make([]float32, 8)
	for r, pos := range s.Positions {
		table := short
		if r >= 3 && r < 8 {
			table = kernels.NewRopeTable(by(5), 8, 1)
		} else if r == 10 {
			table = kernels.NewRopeTable(by(6), 8, 1)
		}
		kernels.Rope(nil, want, x[r*8:(r+1)*8], 1, 2, 4, 4, []int32{pos}, table, false, false)
		if !slices.Equal(y[r*8:(r+1)*8], want) {
			t.Errorf("row %d, position %d: %v, want %v", r, pos, y[r*8:(r+1)*8], want)
		}
	}
}
