package evaluate

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Generator continues prompts with a KV cache.
type Generator struct {
	prog  *nn.Program
	vocab int
	cap   nn.Caps
}

// prefill is the largest number of prompt tokens that one forward pass takes.
const prefill = 512

// NewGenerator compiles a program for contexts of up to context tokens, prompt and continuation together.
func NewGenerator(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, vocab, context int) (*Generator, error) {
	c := nn.Caps{T: min(prefill, context), S: 1, N: 1, C: context}
	prog, err := nn.Compile(w, adapters, params, nn.Options{Mode: nn.ModeLogits, Caps: c, Pool: p, Cache: true})
	if err != nil {
		return nil, err
	}
	return &Generator{prog: prog, vocab: vocab, cap: c}, nil
}

// Close frees the program.
func (g *Generator) Close() { g.prog.Close() }

// Generate continues prompt until one of eos, max_new_tokens or the end of the context, and returns the new tokens, eos among them.
// each, if not nil, is called with every new token; it returns false to stop. The same prompt, settings and seed give the same tokens.
func (g *Generator) Generate(prompt []int32, s Sampling, eos []int32, each func(id int32) bool) ([]int32, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if len(prompt) == 0 {
		return nil, fmt.Errorf("the prompt has no tokens")
	}
	if len(prompt) >= g.cap.C {
		return nil, fmt.Errorf("the prompt has %d tokens, the context %d", len(prompt), g.cap.C)
	}
	seen := slices.Clone(prompt)
	var out []int32
	key := philox.NewKey(s.Seed, "sample", "")
	past := 0
	for {
		next := seen[past:]
		n := min(len(next), g.cap.T)
		step := &nn.Step{Tokens: next[:n], Docs: []kernels.Doc{{End: int32(n), Past: int32(past)}}, Rows: []int32{int32(n - 1)}}
		for i := range n {
			step.Positions = append(step.Positions, int32(past+i))
		}
		logits := g.prog.Forward(step, false)
		past += n
		if past < len(seen) {
			continue
		}
		s.Process(logits, Context{Seen: seen, Prompt: len(prompt), EOS: eos})
		id := pick(&s, logits, key, uint64(len(out)))
		seen, out = append(seen, id), append(out, id)
		if each != nil && !each(id) || slices.Contains(eos, id) || len(out) == s.MaxNewTokens || len(seen) == g.cap.C {
			return out, nil
		}
	}
}

func pick(s *Sampling, logits []float32, key philox.Key, n uint64) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	if !s.DoSample {
		return int32(best)
	}
	w := key.At(0, n)
	u := philox.Uniform64(w[0], w[1])
	for i, p := range Softmax(logits) {
		if u -= p; u < 0 {
			return int32(i)
		}
	}
	return int32(best)
}
