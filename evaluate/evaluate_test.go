package evaluate

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// The word and byte measures divide the same sum: lm-evaluation-harness's weighted_perplexity and bits_per_byte.
func TestScore(t *testing.T) {
	text := CountText("zwei  Wörter\n") // 2 words, 14 bytes
	if text != (Text{Words: 2, Bytes: 14}) {
		t.Fatalf("%+v", text)
	}
	s := NewScore(7, 4, text)
	for _, c := range []struct{ got, want float64 }{{s.NLL, 1.75}, {s.Perplexity, math.Exp(1.75)}, {s.WordPerplexity, math.Exp(3.5)},
		{s.BytePerplexity, math.Exp(0.5)}, {s.BitsPerByte, 0.5 / math.Ln2}} {
		if math.Abs(c.got-c.want) > 1e-12 {
			t.Errorf("%g, want %g", c.got, c.want)
		}
	}
	if CountText("a\xffb").Bytes != 2 {
		t.Error("a byte that is not UTF-8 counts")
	}
}

func TestWindowsRefusesStrides(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {8, 0}, {8, 9}} {
		if _, err := Windows(make([]int32, 20), c[0], c[1]); err == nil {
			t.Errorf("length %d, stride %d: no error", c[0], c[1])
		}
	}
}

func generator(t *testing.T, name string, context int) (*model.Model, *Generator) {
	t.Helper()
	m, err := model.Load(filepath.Join("..", "model", "testdata", "models", name))
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGenerator(m, nil, nn.NewParams(1), nil, m.Config.Vocab, context, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return m, g
}

// Each token that the cache gives is the likeliest of a forward pass over the whole text.
func TestGenerateEqualsFullForward(t *testing.T) {
	for _, name := range []string{"llama_gqa", "gpt2", "qwen2"} {
		m, g := generator(t, name, 40)
		prompt := []int32{5, 80, 9, 17}
		out, err := g.Generate(prompt, Sampling{MaxNewTokens: 20}, nil, nil)
		if err != nil || len(out) != 20 {
			t.Fatalf("%s: %d tokens, %v", name, len(out), err)
		}
		seen := slices.Clone(prompt)
		for i, id := range out {
			step := &nn.Step{Tokens: seen, Docs: []kernels.Doc{{End: int32(len(seen)), Slot: -1}}, Rows: []int32{int32(len(seen) - 1)}}
			for k := range seen {
				step.Positions = append(step.Positions, int32(k))
			}
			p, err := nn.Compile(m, nil, nn.NewParams(1), nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: len(seen), S: 1, N: 1}})
			if err != nil {
				t.Fatal(err)
			}
			l := slices.Clone(p.Forward(step, false))
			p.Close()
			if top := descending(l)[0]; top != int(id) {
				t.Fatalf("%s: token %d is %d with the cache, %d without", name, i, id, top)
			}
			seen = append(seen, id)
		}
	}
}

func TestGenerateStops(t *testing.T) {
	_, g := generator(t, "llama_gqa", 16)
	prompt := []int32{5, 80, 9}
	all, err := g.Generate(prompt, Sampling{MaxNewTokens: 50}, nil, nil)
	if err != nil || len(all) != 13 {
		t.Fatalf("to the end of the context: %d tokens, %v", len(all), err)
	}
	end := all[4]
	short, err := g.Generate(prompt, Sampling{MaxNewTokens: 50}, []int32{end}, nil)
	if want := slices.Index(all, end) + 1; err != nil || len(short) != want {
		t.Errorf("to the end token: %d tokens, want %d, %v", len(short), want, err)
	}
	n := 0
	few, err := g.Generate(prompt, Sampling{MaxNewTokens: 50}, nil, func(int32) bool { n++; return n < 3 })
	if err != nil || len(few) != 3 {
		t.Errorf("stopped by the caller: %d tokens, %v", len(few), err)
	}
	if _, err := g.Generate(make([]int32, 16), Sampling{MaxNewTokens: 1}, nil, nil); err == nil {
		t.Error("a prompt as long as the context was accepted")
	}
	if _, err := g.Generate(nil, Sampling{MaxNewTokens: 1}, nil, nil); err == nil {
		t.Error("an empty prompt was accepted")
	}
	if _, err := g.Generate(prompt, Sampling{MaxNewTokens: 1, TopP: 2}, nil, nil); err == nil {
		t.Error("top_p 2 was accepted")
	}
}

// Drawn tokens depend on the seed alone, and follow the probabilities.
func TestSampling(t *testing.T) {
	_, g := generator(t, "llama_gqa", 64)
	draw := func(seed uint64) []int32 {
		out, err := g.Generate([]int32{5, 80}, Sampling{DoSample: true, Temperature: 1.5, TopK: 50, MaxNewTokens: 30, Seed: seed}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	a := draw(1)
	if !slices.Equal(a, draw(1)) {
		t.Error("the same seed gives other tokens")
	}
	if slices.Equal(a, draw(2)) {
		t.Error("another seed gives the same tokens")
	}
	first := map[int32]int{}
	var p []float64
	const n = 400
	for seed := range uint64(n) {
		out, err := g.Generate([]int32{5, 80}, Sampling{DoSample: true, MaxNewTokens: 1, Seed: seed}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		first[out[0]]++
	}
	step := &nn.Step{Tokens: []int32{5, 80}, Positions: []int32{0, 1}, Docs: []kernels.Doc{{End: 2}}, Rows: []int32{1}}
	p = Softmax(g.prog.Forward(step, false))
	chi := 0.0
	for i, q := range p {
		d := float64(first[int32(i)]) - n*q
		chi += d * d / (n * q)
	}
	if dof := float64(len(p) - 1); chi > dof+6*math.Sqrt(2*dof) {
		t.Errorf("chi squared %.0f with %.0f degrees of freedom", chi, dof)
	}
}

// TestApart: the logits that tokens are drawn from have the same bits whatever stands beside a sequence, and however few tokens of its
// prompt a pass takes; a prompt's number, not its place, gives its random numbers.
func TestApart(t *testing.T) {
	for at, name := range []string{"llama_gqa", "gemma3_text", "llama_gqa"} {
		m, _ := generator(t, name, 48)
		apart := func(prompts [][]int32, draws []uint64, sequences, tokens int) (out [][]int32, bits []string) {
			g, err := CompileGenerator(m, nil, nn.NewParams(1), nil, m.Config.Vocab,
				Memory{Context: 48, Sequences: sequences, Cache: []nn.DType{nn.Float32, nn.Float32, nn.BFloat16}[at]})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			g.tokens, g.Draws = tokens, draws
			bits = make([]string, len(prompts))
			g.seen = func(q *sequence, l []float32) { bits[q.index] += fmt.Sprintf("%x ", l[:8]) }
			out, err = g.GenerateAll(prompts, Sampling{MaxNewTokens: 6, DoSample: true, Temperature: 1, Seed: 2}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return out, bits
		}
		var prompts [][]int32
		var draws []uint64
		for i := range 11 {
			p := []int32{int32(5 + i)}
			for k := range (i * 7) % 40 {
				p = append(p, int32((i*31+k*17)%m.Config.Vocab))
			}
			prompts, draws = append(prompts, p), append(draws, uint64(100+i))
		}
		all, bits := apart(prompts, draws, 4, 11) // prompts take several passes
		for i, p := range prompts {
			alone, own := apart([][]int32{p}, draws[i:i+1], 1, 48)
			if !slices.Equal(alone[0], all[i]) {
				t.Errorf("%s: prompt %d: %v together, %v alone", name, i, all[i], alone[0])
			}
			if own[0] != bits[i] {
				t.Errorf("%s: prompt %d: its logits have other bits beside others", name, i)
			}
		}
	}
}

// TestGenerateAll continues many prompts at a time, longer ones than a pass takes among them: each gets the tokens that it gets alone, and
// equal prompts are continued in their own ways where tokens are drawn.
func TestGenerateAll(t *testing.T) {
	for _, name := range []string{"llama_gqa", "gpt2", "gemma3_text"} {
		m, one := generator(t, name, 48)
		var prompts [][]int32
		for i := range 11 {
			p := []int32{int32(5 + i)}
			for k := range (i * 7) % 40 {
				p = append(p, int32((i*31+k*17)%m.Config.Vocab))
			}
			prompts = append(prompts, p)
		}
		many, err := NewGenerator(m, nil, nn.NewParams(1), nil, m.Config.Vocab, 48, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer many.Close()
		many.tokens = 9 // prompts take several passes
		s := Sampling{MaxNewTokens: 12}
		told, ended := make([]int, len(prompts)), make([]int, len(prompts))
		all, err := many.GenerateAll(prompts, s, []int32{3}, func(i int, _ int32, last bool) (bool, error) {
			told[i]++
			if last {
				ended[i]++
			}
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range prompts {
			alone, err := one.Generate(p, s, []int32{3}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(all[i], alone) || told[i] != len(alone) || ended[i] != 1 {
				t.Errorf("%s: prompt %d: %v together, of which %d were reported, %v alone", name, i, all[i], told[i], alone)
			}
		}
		s.DoSample, s.Temperature, s.Seed = true, 1, 9
		same := [][]int32{{7, 8}, {7, 8}, {7, 8}}
		drawn, err := many.GenerateAll(same, s, nil, nil)
		again, err2 := many.GenerateAll(same, s, nil, nil)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		for i := range drawn {
			if !slices.Equal(drawn[i], again[i]) {
				t.Errorf("%s: the same seed gives %v and %v", name, drawn[i], again[i])
			}
		}
		if slices.Equal(drawn[0], drawn[1]) || slices.Equal(drawn[1], drawn[2]) {
			t.Errorf("%s: equal prompts are continued alike: %v", name, drawn)
		}
		if _, err := many.GenerateAll([][]int32{{1}, {}}, s, nil, nil); err == nil {
			t.Error("an empty prompt was accepted")
		}
		stop, n := errors.New("stop"), 0
		if _, err := many.GenerateAll(same, s, nil, func(int, int32, bool) (bool, error) { n++; return true, stop }); err != stop ||
			n != 1 {
			t.Errorf("an error of the caller ends with %v after %d tokens", err, n)
		}
	}
}
