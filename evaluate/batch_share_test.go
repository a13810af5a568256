package evaluate

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// TestBatchShares: sequences that begin alike, of two owners and of none, say bit for bit what they say alone, with a cache of either
// dtype; what one begins with is read once for each owner, and taken from no other.
func TestBatchShares(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for _, name := range []string{"llama_gqa", "gemma3_text"} {
		for _, dtype := range []nn.DType{nn.Float32, nn.BFloat16} {
			m, _ := generator(t, name, 48)
			make := func(sequences, rows int, p *pool.Pool) *Batch {
				b, err := NewBatch(m, nil, nn.NewParams(1), p, m.Config.Vocab,
					BatchSize{Context: 48, Sequences: sequences, Rows: rows, Cache: dtype})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(b.Close)
				b.pass, b.scored = 9, 5
				return b
			}
			alone := make(1, 48, nil)
			b := make(5, 400, two)
			stems := [][]int32{}
			r := rand.New(rand.NewPCG(3, 3))
			for range 3 {
				stems = append(stems, asking(rand.New(rand.NewPCG(uint64(len(stems)), 1)), m.Config.Vocab).Prompt)
				for len(stems[len(stems)-1]) < 30 {
					stems[len(stems)-1] = append(stems[len(stems)-1], int32(r.IntN(m.Config.Vocab)))
				}
			}
			hits := 0
			for i := range mixes(t) {
				r := rand.New(rand.NewPCG(9, uint64(i)))
				var list []*Sequence
				for range 60 {
					q := asking(r, m.Config.Vocab)
					stem := stems[r.IntN(3)]
					q.Prompt = slices.Concat(stem[:20+r.IntN(10)], q.Prompt[:min(len(q.Prompt), 6)])
					q.Owner = []string{"", "a", "b"}[r.IntN(3)]
					list = append(list, &q)
				}
				mixed(t, name, b, alone, r, list)
				for _, q := range list {
					if q.Cached() > 0 && (q.Owner == "" || q.Echo || q.Cached() >= len(q.Prompt)) {
						t.Errorf("%+v takes %d rows", *q, q.Cached())
					}
					hits += q.Cached()
				}
			}
			if hits < 200 {
				t.Errorf("%s: %d tokens were shared", name, hits)
			}
			for _, c := range []struct {
				owner string
				slot  int
				want  int
			}{{"c", -1, 0}, {"c", -1, 24}, {"d", -1, 0}, {"c", 0, 0}, {"", -1, 0}, {"c", -1, 24}} {
				q := &Sequence{Prompt: stems[0][:25], Owner: c.owner, Slot: c.slot, LogProbs: -1, Sampling: Sampling{MaxNewTokens: 1}}
				answerOf(t, b, q)
				if q.Cached() != c.want {
					t.Errorf("%s in slot %d takes %d rows, not %d", c.owner, c.slot, q.Cached(), c.want)
				}
			}
		}
	}
}

// TestBatchAwaits: who begins with what another is reading waits for it, and then takes it; nobody else waits.
func TestBatchAwaits(t *testing.T) {
	m, _ := generator(t, "llama_gqa", 48)
	b := batch(t, m, 5, 200, nil)
	prompt := []int32{}
	for i := range 30 {
		prompt = append(prompt, int32(3+i))
	}
	ask := func(owner string, slot int, n int) *Sequence {
		return &Sequence{Prompt: prompt[:n], Owner: owner, Slot: slot, LogProbs: -1, Sampling: Sampling{MaxNewTokens: 8}}
	}
	b.Join(ask("a", -1, 30))
	second := ask("a", -1, 28)
	echo := ask("a", -1, 28)
	echo.Echo = true
	for _, q := range []*Sequence{ask("", -1, 28), ask("b", -1, 28), ask("a", 0, 28), ask("a", -1, 16), echo} {
		if b.Awaits(q) {
			t.Errorf("%+v waits", *q)
		}
	}
	passes := 0
	for ; b.Awaits(second); passes++ {
		b.Step(func(*Sequence, Said) {})
	}
	if b.Join(second); passes != 2 || second.Cached() != 18 {
		t.Errorf("it waits for %d passes, and takes %d rows", passes, second.Cached())
	}
}

func answerOf(t *testing.T, b *Batch, q *Sequence) {
	t.Helper()
	if !b.Join(q) {
		t.Fatal("no room")
	}
	for n := 1; n > 0; n, _ = b.Live() {
		b.Step(func(*Sequence, Said) {})
	}
}
