package kernels

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// TestAttentionOfSharedRows: documents that go on from rows of another have the bits that they have with these rows of their own, and the
// rows that they share get the gradients of all.
func TestAttentionOfSharedRows(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for _, set := range sets() {
		for round := range 30 {
			t.Run(fmt.Sprintf("%s/%d", set.name, round), func(t *testing.T) {
				set.use(t)
				r := rand.New(rand.NewPCG(9, uint64(round)))
				kv := 1 + r.IntN(3)
				a := Attn{Heads: kv * (1 + r.IntN(3)), KVHeads: kv, HeadDim: 4 * (1 + r.IntN(9)), Scale: 0.25, ByDocument: round%4 != 3}
				if round%3 == 1 {
					a.Window = 1 + r.IntN(100)
				}
				if round%5 == 2 {
					a.SoftCap = 3
				}
				P := 0
				if round%6 == 5 {
					P = 1 + r.IntN(9)
				}
				sharedRows(t, r, a, P, two)
			})
		}
	}
}

func sharedRows(t *testing.T, r *rand.Rand, a Attn, P int, two *pool.Pool) {
	wq, wk, slot := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim, int32(-1)
	if P > 0 {
		slot = 0
	}
	pk, pv := randn(r, P*wk), randn(r, P*wk)
	prompt := 1 + r.IntN([]int{9, 80, 200}[r.IntN(3)])
	tails := []int{1 + r.IntN(90), 1 + r.IntN(3), 1 + r.IntN(150)}
	common := [3][]float32{randn(r, prompt*wq), randn(r, prompt*wk), randn(r, prompt*wk)}
	var whole, shared [4][]float32 // q, k, v, dout
	var docs, short []Doc
	var at []int // of each document of short, its first row in whole
	T, S := 0, 0
	for i, n := range tails {
		rows := [4][]float32{randn(r, n*wq), randn(r, n*wk), randn(r, n*wk), randn(r, n*wq)}
		from := 0
		if i > 0 {
			from = SharedRows(prompt, prompt+tails[0], prompt+n)
		}
		for j, w := range []int{wq, wk, wk} {
			whole[j] = append(append(whole[j], common[j]...), rows[j]...)
			shared[j] = append(append(shared[j], common[j][from*w:]...), rows[j]...)
		}
		g := randn(r, prompt*wq)
		clear(g[:from*wq]) // rows that are the first document's have no gradient of this one's
		whole[3], shared[3] = append(append(whole[3], g...), rows[3]...), append(append(shared[3], g[from*wq:]...), rows[3]...)
		docs = append(docs, Doc{int32(T), int32(T + prompt + n), 0, slot, 0})
		d := Doc{int32(S), int32(S + prompt + n - from), int32(from), slot, 0}
		short, at = append(short, d), append(at, T+from)
		T, S = T+prompt+n, S+prompt+n-from
	}
	run := func(p *pool.Pool, x [4][]float32, docs []Doc) [][]float32 {
		out, lse := make([]float32, len(x[0])), make([]float32, len(x[0])/a.HeadDim)
		a.Forward(p, out, lse, x[0], x[1], x[2], docs, pk, pv, P, nil)
		dq, dk, dv := make([]float32, len(x[0])), make([]float32, len(x[1])), make([]float32, len(x[2]))
		dpk, dpv := make([]float32, len(pk)), make([]float32, len(pv))
		a.Backward(p, dq, dk, dv, dpk, dpv, x[3], x[0], x[1], x[2], out, lse, docs, pk, pv, P, nil)
		return [][]float32{out, lse, dq, dk, dv, dpk, dpv}
	}
	want, got := run(nil, whole, docs), run(two, shared, short)
	for j, x := range run(nil, shared, short) {
		sameBits(t, fmt.Sprintf("result %d with one thread and two", j), x, got[j])
	}
	for i, d := range short {
		n := int(d.End - d.Start)
		for j, w := range []int{wq, a.Heads} {
			sameBits(t, fmt.Sprintf("%+v: %d rows in common, document %d of %d more, result %d", a, d.Past, i, tails[i], j),
				got[j][int(d.Start)*w:int(d.End)*w], want[j][at[i]*w:(at[i]+n)*w])
		}
	}
	for j, w := range map[int]int{2: wq, 3: wk, 4: wk} {
		sum := slices.Clone(want[j])
		for i, d := range short {
			for k := range int(d.Past) * w { // of rows that are the first document's
				sum[k] += want[j][int(docs[i].Start)*w+k]
			}
			for k := range int(d.End-d.Start) * w {
				w := float64(sum[at[i]*w+k])
				if i == 0 && k < prompt*wk {
					continue // compared when all is added
				}
				if x := float64(got[j][int(d.Start)*(len(got[j])/S)+k]); !(abs64(x-w) <= 2e-4*max(1, abs64(w))) {
					t.Fatalf("gradient %d of document %d, value %d: %g, want %g", j, i, k, x, w)
				}
			}
		}
		for k := range prompt * w {
			if x, w := float64(got[j][k]), float64(sum[k]); !(abs64(x-w) <= 2e-4*max(1, abs64(w))) {
				t.Fatalf("gradient %d of the prompt, value %d: %g, want %g", j, k, x, w)
			}
		}
	}
	for j := 5; j < 7; j++ {
		for k, x := range got[j] {
			if w := float64(want[j][k]); !(abs64(float64(x)-w) <= 2e-4*max(1, abs64(w))) {
				t.Fatalf("gradient %d of the prefix, value %d: %g, want %g", j, k, x, w)
			}
		}
	}
}

func abs64(x float64) float64 { return max(x, -x) }
