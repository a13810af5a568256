package evaluate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// batch compiles a small batch of a model whose prompts take several passes.
func batch(t *testing.T, m *model.Model, sequences, rows int, p *pool.Pool) *Batch {
	t.Helper()
	b, err := NewBatch(m, nil, nn.NewParams(1), p, m.Config.Vocab, BatchSize{Context: 48, Sequences: sequences, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.pass, b.scored = 9, 5
	return b
}

// asking makes a random sequence: greedy or drawn, with and without log-probabilities, penalties, and its prompt's scores.
func asking(r *rand.Rand, vocab int) Sequence {
	q := Sequence{Draw: r.Uint64N(3), LogProbs: r.IntN(4) - 1, Slot: -1}
	q.Sampling = Sampling{MaxNewTokens: 1 + r.IntN(12), Seed: r.Uint64N(5)}
	if r.IntN(2) == 0 {
		q.Sampling.DoSample, q.Sampling.Temperature, q.Sampling.TopK = true, 0.5+r.Float64(), r.IntN(20)
	}
	if r.IntN(3) == 0 {
		q.Sampling.FrequencyPenalty, q.Sampling.LogitBias = 1, map[int32]float64{3: -5}
	}
	if r.IntN(3) == 0 {
		q.Echo, q.LogProbs = true, max(q.LogProbs, 0)
		q.Sampling.MaxNewTokens = r.IntN(3)
	}
	for range 1 + r.IntN(35) {
		q.Prompt = append(q.Prompt, int32(r.IntN(vocab)))
	}
	return q
}

// answer runs one sequence by itself.
func answer(t *testing.T, b *Batch, q Sequence) (said []string) {
	t.Helper()
	if err := b.Check(&q); err != nil {
		t.Fatal(err)
	}
	if !b.Join(&q) {
		t.Fatal("an empty batch has no room")
	}
	for n := 1; n > 0; n, _ = b.Live() {
		b.Step(func(_ *Sequence, s Said) { said = append(said, fmt.Sprint(s)) })
	}
	return said
}

// mixes is how many random mixes of sequences are tried: 1, or what ADAPTFLOW_MIXES says.
func mixes(t *testing.T) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("ADAPTFLOW_MIXES"), "1"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// mixed has sequences come and go at random in b, and compares what they say with what they say alone. It gives the number of those that
// were cut off.
func mixed(t *testing.T, name string, b, alone *Batch, r *rand.Rand, waiting []*Sequence) int {
	t.Helper()
	want, got := map[*Sequence][]string{}, map[*Sequence][]string{}
	for _, q := range waiting {
		one := *q
		one.Owner = ""
		want[q] = answer(t, alone, one)
	}
	cut := map[*Sequence]bool{}
	for turn := 0; ; turn++ {
		if turn%3 == 0 || r.IntN(2) == 0 {
			for len(waiting) > 0 && b.Join(waiting[0]) {
				waiting = waiting[1:]
			}
		}
		n, rows := b.Live()
		if n > b.size.Sequences || rows > b.size.Rows {
			t.Fatalf("%d sequences of %d rows", n, rows)
		}
		if n == 0 && len(waiting) == 0 {
			break
		}
		if n > 0 && r.IntN(20) == 0 {
			q := b.live[r.IntN(n)]
			cut[q] = true
			b.Leave(q)
		}
		b.Step(func(q *Sequence, s Said) { got[q] = append(got[q], fmt.Sprint(s)) })
	}
	for q, w := range want {
		g := got[q]
		if cut[q] {
			w = w[:min(len(g), len(w))]
		}
		if !slices.Equal(g, w) {
			t.Errorf("%s: %+v says\n%.300v\nbeside others, and alone\n%.300v", name, *q, g, w)
		}
	}
	return len(cut)
}

// TestBatch: sequences that come and go at random, each with settings of its own, say bit for bit what they say alone, by one thread and by
// two, and in a cache of other rows; and the ones without log-probabilities what a Generator says.
func TestBatch(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for _, name := range []string{"llama_gqa", "gemma3_text"} {
		m, gen := generator(t, name, 48)
		alone := batch(t, m, 1, 48, nil)
		for _, p := range []*pool.Pool{nil, two} {
			b := batch(t, m, 5, 130, p)
			for i := range mixes(t) {
				r := rand.New(rand.NewPCG(7, uint64(7+i)))
				var list []*Sequence
				for range 60 {
					q := asking(r, m.Config.Vocab)
					list = append(list, &q)
				}
				if mixed(t, name, b, alone, r, list) == 0 {
					t.Error("no sequence left")
				}
			}
		}
		plain := batch(t, m, 3, 100, nil)
		plain.pass = 48
		q := Sequence{Prompt: []int32{5, 6, 7, 8, 9}, Slot: -1, LogProbs: -1,
			Sampling: Sampling{MaxNewTokens: 9, DoSample: true, Temperature: 1.5, Seed: 4}}
		ids, err := gen.Generate(q.Prompt, q.Sampling, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		plain.Join(&q)
		for n := 1; n > 0; n, _ = plain.Live() {
			plain.Step(func(*Sequence, Said) {})
		}
		if got := q.ids[len(q.Prompt):]; !slices.Equal(ids, got) {
			t.Errorf("%s: a generator says %v, a batch %v", name, ids, got)
		}
	}
}

// TestBatchScores: a prompt's log-probabilities are those of a forward pass over it, the likeliest tokens come first, and the token is
// among them with the same number where it is the likeliest.
func TestBatchScores(t *testing.T) {
	m, _ := generator(t, "llama_gqa", 48)
	prompt := []int32{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9}
	p, err := nn.Compile(m, nil, nn.NewParams(1), nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: 48, S: 48, N: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ids := make([]int64, len(prompt))
	for i, id := range prompt {
		ids[i] = int64(id)
	}
	step, _ := nn.FromBatch(ids, nil, nil, 1, len(ids))
	v := m.Config.Vocab
	logits := slices.Clone(p.Forward(step, false))
	b := batch(t, m, 2, 96, nil)
	q := &Sequence{Prompt: prompt, Echo: true, LogProbs: 3, Sampling: Sampling{MaxNewTokens: 1}, Slot: -1}
	b.Join(q)
	var said []Said
	for n := 1; n > 0; n, _ = b.Live() {
		b.Step(func(_ *Sequence, s Said) { said = append(said, s) })
	}
	if len(said) != len(prompt) {
		t.Fatalf("%d tokens are reported; %d are a prompt's from the second on, and one more", len(said), len(prompt))
	}
	for i, s := range said {
		row := logits[i*v : (i+1)*v]
		probs := Softmax(row)
		if i < len(prompt)-1 && s.ID != prompt[i+1] || s.Place != i+1 {
			t.Errorf("the token at %d is %d at %d", i+1, s.ID, s.Place)
		}
		if want := math.Log(probs[s.ID]); math.Abs(s.LogProb-want) > 1e-5 {
			t.Errorf("the log-probability at %d is %g, not %g", i+1, s.LogProb, want)
		}
		if len(s.Top) != 3 || math.Abs(s.Top[0].LogProb-math.Log(slices.Max(probs))) > 1e-5 || s.Top[1].LogProb > s.Top[0].LogProb ||
			s.Top[2].LogProb > s.Top[1].LogProb {
			t.Errorf("the likeliest at %d are %v", i+1, s.Top)
		}
		if s.ID == s.Top[0].ID && s.LogProb != s.Top[0].LogProb {
			t.Errorf("the likeliest token at %d has two numbers", i+1)
		}
	}
	drawn := &Sequence{Prompt: prompt, LogProbs: 0, Slot: -1,
		Sampling: Sampling{MaxNewTokens: 1, DoSample: true, Temperature: 3, LogitBias: map[int32]float64{11: 90}}}
	b.Join(drawn)
	b.Step(func(*Sequence, Said) {})
	b.Step(func(_ *Sequence, s Said) {
		want := math.Log(Softmax(logits[(len(prompt)-1)*v:])[11])
		if s.ID != 11 || math.Abs(s.LogProb-want) > 1e-5 {
			t.Errorf("token %d of log-probability %g is drawn; 11 of %g should be", s.ID, s.LogProb, want)
		}
	})
	if last := said[len(said)-1]; last.ID != last.Top[0].ID || !last.Last {
		t.Error("the new token is not the likeliest, or not the last")
	}
}

// TestBatchRefuses: what can never join is refused, and a sequence of which nothing is wanted ends.
func TestBatchRefuses(t *testing.T) {
	m, _ := generator(t, "llama_gqa", 48)
	b := batch(t, m, 2, 60, nil)
	for _, q := range []Sequence{
		{Sampling: Sampling{MaxNewTokens: 1}},
		{Prompt: make([]int32, 48), Sampling: Sampling{MaxNewTokens: 1}},
		{Prompt: []int32{int32(m.Config.Vocab)}, Sampling: Sampling{MaxNewTokens: 1}},
		{Prompt: []int32{-1}, Sampling: Sampling{MaxNewTokens: 1}},
		{Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 1, PresencePenalty: 3}},
	} {
		if b.Check(&q) == nil {
			t.Errorf("%+v is accepted", q)
		}
	}
	for _, echo := range []bool{true, false} {
		q := &Sequence{Prompt: []int32{1}, Echo: echo, Slot: -1}
		if !b.Join(q) {
			t.Fatal("no room")
		}
		ends := 0
		b.Step(func(_ *Sequence, s Said) {
			if s.Last {
				ends++
			}
		})
		if n, _ := b.Live(); n != 0 || ends != 1 {
			t.Errorf("a prompt of which nothing is wanted lives on, or ended %d times", ends)
		}
	}
	x, y := &Sequence{Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 40}, Slot: -1},
		&Sequence{Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 30}, Slot: -1}
	if !b.Join(x) || b.Join(y) {
		t.Error("72 rows are taken of a cache of 60")
	}
	b.Leave(x)
	if !b.Join(y) {
		t.Error("rows of a sequence that left are not free")
	}
}

// TestPenalties: OpenAI's penalties are of what was generated, once and for each time; a bias is added.
func TestPenalties(t *testing.T) {
	s := Sampling{FrequencyPenalty: 0.5, PresencePenalty: 0.25, LogitBias: map[int32]float64{4: -100, 9: 1}}
	l := []float32{1, 1, 1, 1, 1}
	s.Process(l, Context{Seen: []int32{0, 1, 1, 2}, Prompt: 1})
	if want := []float32{1, 1 - 1.25, 1 - 0.75, 1, -99}; !slices.Equal(l, want) {
		t.Errorf("%v, want %v", l, want)
	}
}
