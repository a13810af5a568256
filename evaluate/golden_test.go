package evaluate

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// goldenProcessors are transformers' processors as settings, by the golden case's name; the numbers are those of its parameters.
var goldenProcessors = map[string]func(p map[string]any) Sampling{
	"temperature": func(p map[string]any) Sampling { return Sampling{Temperature: num(p, "temperature")} },
	"top_k":       func(p map[string]any) Sampling { return Sampling{TopK: int(num(p, "top_k"))} },
	"top_p": func(p map[string]any) Sampling {
		return Sampling{TopP: num(p, "top_p"), MinTokensToKeep: int(num(p, "min_tokens_to_keep"))}
	},
	"min_p":           func(p map[string]any) Sampling { return Sampling{MinP: num(p, "min_p")} },
	"typical":         func(p map[string]any) Sampling { return Sampling{TypicalP: num(p, "mass")} },
	"epsilon":         func(p map[string]any) Sampling { return Sampling{EpsilonCutoff: num(p, "epsilon")} },
	"repetition":      func(p map[string]any) Sampling { return Sampling{RepetitionPenalty: num(p, "penalty")} },
	"no_repeat_ngram": func(p map[string]any) Sampling { return Sampling{NoRepeatNgramSize: int(num(p, "ngram_size"))} },
	"min_new_tokens":  func(p map[string]any) Sampling { return Sampling{MinNewTokens: int(num(p, "min_new_tokens"))} },
	"bad_words": func(p map[string]any) Sampling {
		var s Sampling
		for _, w := range p["bad_word_ids"].([]any) {
			var ids []int32
			for _, id := range w.([]any) {
				ids = append(ids, int32(id.(float64)))
			}
			s.BadWordsIDs = append(s.BadWordsIDs, ids)
		}
		return s
	},
	// The parameters do not say what these two were made with; the script that made them does.
	"eta":      func(map[string]any) Sampling { return Sampling{EtaCutoff: 0.01} },
	"suppress": func(map[string]any) Sampling { return Sampling{SuppressTokens: []int32{4, 6}} },
	"chain": func(map[string]any) Sampling {
		return Sampling{RepetitionPenalty: 1.2, Temperature: 0.8, TopK: 40, TopP: 0.9}
	},
}

func num(p map[string]any, name string) float64 { v, _ := p[name].(float64); return v }

// TestGoldenProcessors compares each processor, and a chain of them, with transformers'.
func TestGoldenProcessors(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "testdata"), "generation")
	f := golden.Open(t, filepath.Join(dir, "processors.safetensors"))
	g := golden.JSON[struct{ Params map[string]map[string]any }](t, filepath.Join(dir, "processors.json"))
	ids, scores := f.I64("input_ids"), f.F32("scores")
	rows := f.Shape("scores")[0]
	n, v := len(ids)/rows, len(scores)/rows
	ran, out := 0, []string{}
	for _, key := range f.Names() {
		name, ok := strings.CutPrefix(key, "scores.")
		if !ok {
			continue
		}
		kind := name
		if goldenProcessors[kind] == nil {
			kind = name[:max(strings.LastIndexAny(name, "_"), 0)]
		}
		for goldenProcessors[kind] == nil && strings.Contains(kind, "_") {
			kind = kind[:strings.LastIndex(kind, "_")]
		}
		if goldenProcessors[kind] == nil {
			out = append(out, name)
			continue
		}
		ran++
		s := goldenProcessors[kind](g.Params[name])
		s.DoSample, s.MaxNewTokens = true, 1
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		want, probs := f.F32(key), f.F32("probs."+name)
		for r := range rows {
			seen := make([]int32, n)
			for i := range seen {
				seen[i] = int32(ids[r*n+i])
			}
			l := slices.Clone(scores[r*v : (r+1)*v])
			s.Process(l, Context{Seen: seen, Prompt: int(num(g.Params[name], "prompt_length_to_skip")), EOS: []int32{2}})
			p := Softmax(l)
			for i := range l {
				w := want[r*v+i]
				if math.IsInf(float64(w), -1) != math.IsInf(float64(l[i]), -1) || l[i] != w && math.Abs(float64(l[i]-w)) > 1e-5 {
					t.Fatalf("%s: row %d, token %d: %g, want %g", name, r, i, l[i], w)
				}
				if math.Abs(p[i]-float64(probs[r*v+i])) > 1e-6 {
					t.Fatalf("%s: row %d, token %d: probability %g, want %g", name, r, i, p[i], probs[r*v+i])
				}
			}
		}
	}
	t.Logf("logits processors: %d cases ran, out of scope: %v", ran, out)
	if ran == 0 {
		t.Error("no case ran")
	}
}

func has(path string) bool { _, err := os.Stat(path); return err == nil }

// TestGoldenGreedy continues prompts greedily with base and adapter; the tokens are transformers'.
func TestGoldenGreedy(t *testing.T) {
	cases := golden.JSON[map[string]struct {
		Adapter        string
		Prompt, Tokens []int32
	}](t, filepath.Join(golden.Root(t, "testdata"), "generation", "greedy_lora.json"))
	ran, out := 0, []string{}
	for name, c := range cases {
		dir, adapter := filepath.Join(golden.Root(t, "../model/testdata"), "models", name),
			filepath.Join(golden.Root(t, "../peft/testdata"), filepath.FromSlash(c.Adapter))
		if !has(dir) || !has(adapter) {
			out = append(out, name+" (not here)")
			continue
		}
		arch := golden.JSON[struct{ Architectures []string }](t, filepath.Join(dir, "config.json")).Architectures
		if !slices.Contains(model.Architectures(), arch[0]) {
			out = append(out, name)
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			m, err := model.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			a, err := peft.Open(adapter, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, Tied: m.Config.Tied})
			if err != nil {
				t.Fatal(err)
			}
			params := nn.NewParams(1)
			defer params.Free()
			g, err := NewGenerator(m, []nn.Adapter{a}, params, nil, m.Config.Vocab, len(c.Prompt)+len(c.Tokens)+1, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			got, err := g.Generate(c.Prompt, Sampling{MaxNewTokens: len(c.Tokens)}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.Tokens) {
				t.Errorf("tokens %v, want %v", got, c.Tokens)
			}
		})
	}
	slices.Sort(out)
	t.Logf("greedy with LoRA: %d cases ran, out of scope: %v", ran, out)
}

// scorer runs one window at a time.
type scorer struct{ m *model.Model }

func (s scorer) NLL(seqs []datasets.Sequence) (sum float64, tokens int, err error) {
	for _, q := range seqs {
		step := &nn.Step{Tokens: q.InputIDs, Docs: []kernels.Doc{{End: int32(len(q.InputIDs)), Slot: -1}}}
		for i := range q.InputIDs {
			step.Positions = append(step.Positions, int32(i))
			if i+1 < len(q.Labels) && q.Labels[i+1] != datasets.NoLoss {
				step.Rows, step.Labels = append(step.Rows, int32(i)), append(step.Labels, q.Labels[i+1])
			}
		}
		p, err := nn.Compile(s.m, nil, nn.NewParams(1),
			nn.Options{Mode: nn.ModeScore, Caps: nn.Caps{T: len(step.Tokens), S: len(step.Rows), N: 1}})
		if err != nil {
			return 0, 0, err
		}
		for _, v := range p.Forward(step, false) {
			sum -= float64(v)
		}
		tokens += len(step.Rows)
		p.Close()
	}
	return sum, tokens, nil
}

// TestGoldenPerplexity scores texts in sliding windows, as transformers' guide to perplexity does.
func TestGoldenPerplexity(t *testing.T) {
	cases := golden.JSON[map[string]struct {
		InputIDs []int32 `json:"input_ids"`
		Runs     []struct {
			MaxLength int `json:"max_length"`
			Stride    int
			MeanNLL   float64 `json:"mean_nll"`
			PPL       float64
			Tokens    int
			Windows   []struct {
				ScoredTokens int `json:"scored_tokens"`
				Loss         float64
			}
		}
	}](t, filepath.Join(golden.Root(t, "testdata"), "metrics", "perplexity.json"))
	ran, out := 0, []string{}
	for name, c := range cases {
		dir := filepath.Join(golden.Root(t, "../model/testdata"), "models", name)
		if !has(dir) {
			out = append(out, name)
			continue
		}
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Runs {
			ran++
			w, err := Windows(c.InputIDs, r.MaxLength, r.Stride)
			if err != nil {
				t.Fatal(err)
			}
			if len(w) != len(r.Windows) {
				t.Fatalf("%s, %d tokens every %d: %d windows, want %d", name, r.MaxLength, r.Stride, len(w), len(r.Windows))
			}
			for i := range w {
				sum, n, err := scorer{m}.NLL(w[i : i+1])
				if err != nil {
					t.Fatal(err)
				}
				if n != r.Windows[i].ScoredTokens || math.Abs(sum/float64(n)-r.Windows[i].Loss) > 2e-5 {
					t.Errorf("%s, window %d: loss %g over %d tokens, want %g over %d", name, i, sum/float64(n), n, r.Windows[i].Loss,
						r.Windows[i].ScoredTokens)
				}
			}
			s, err := Perplexity(scorer{m}, w, Text{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Tokens != r.Tokens || math.Abs(s.NLL-r.MeanNLL) > 2e-5 || math.Abs(s.Perplexity-r.PPL) > 2e-5*r.PPL {
				t.Errorf("%s, %d every %d: %+v, want NLL %g, perplexity %g of %d tokens", name, r.MaxLength, r.Stride, s,
					r.MeanNLL, r.PPL, r.Tokens)
			}
		}
	}
	t.Logf("sliding-window perplexity: %d cases ran, out of scope: %v", ran, out)
}
