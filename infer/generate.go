package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/nn"
)

// Continuation is what a model says after a prompt.
type Continuation struct {
	Text string
	IDs  []int32 // with the token that ended it
	// Empty says why Text shows nothing, "" where it shows something.
	Empty string
	// Finish says why it ended: stop, at a token or a text that ends it; length.
	Finish string
}

// Sampling fills in what the model's generation_config.json says of the settings that were not given, by transformers' names.
// unused names what that file asks for and is not done.
func (m *Model) Sampling(s evaluate.Sampling, given func(name string) bool) (_ evaluate.Sampling, unused []string, err error) {
	g, err := evaluate.ReadGenerationConfig(m.Dir)
	if err != nil {
		return s, nil, err
	}
	g.Fill(&s, given)
	return s, g.Unused(), s.Validate()
}

// Prompt are the tokens of a prompt: what stands before every text, and the text; an empty one begins with the model's bos_token_id.
func (m *Model) Prompt(prompt string) ([]int32, error) {
	_, f, err := m.Text()
	if err != nil {
		return nil, err
	}
	ids, err := f.Prompt(prompt)
	if b := m.Base.Config.BOS; err == nil && b >= 0 && len(ids) == 0 {
		ids = append(ids, b)
	}
	return ids, err
}

// Stops are the tokens that end what is generated: those of the model, and those by which its adapter has learnt to end.
func (m *Model) Stops() ([]int32, error) {
	stop := slices.Clone(m.Base.Config.EOS)
	if !m.Framed {
		return stop, nil
	}
	_, f, err := m.Text()
	if err != nil {
		return nil, err
	}
	for _, id := range f.Stop() {
		if !slices.Contains(stop, id) {
			stop = append(stop, id)
		}
	}
	return stop, nil
}

// Generate continues a prompt. each, if not nil, receives what is new of the text as it comes. The same prompt, settings and
// seed give the same text.
func (m *Model) Generate(prompt string, s evaluate.Sampling, each func(text string)) (*Continuation, error) {
	ids, err := m.Prompt(prompt)
	if err != nil {
		return nil, err
	}
	return m.Continue(ids, s, nil, each)
}

// Continue is Generate after a prompt of tokens, until one of the texts stops too, which is not shown.
func (m *Model) Continue(prompt []int32, s evaluate.Sampling, stops []string, each func(text string)) (*Continuation, error) {
	if len(prompt) == 0 {
		return nil, errors.New("the prompt has no tokens, and config.json names no bos_token_id to begin a text with: " +
			"give a prompt that is not empty")
	}
	tk, _, err := m.Text()
	if err != nil {
		return nil, err
	}
	stop, err := m.Stops()
	if err != nil {
		return nil, err
	}
	g, err := m.generator(len(prompt)+s.MaxNewTokens, 1, 0)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	told := Speech{Tokenizer: tk, Stops: stops}
	out, err := g.GenerateAll([][]int32{prompt}, s, stop, func(_ int, id int32, last bool) (bool, error) {
		// A character may take several tokens: only what is whole is shown.
		text := told.Add(evaluate.Said{TokenProb: evaluate.TokenProb{ID: id}, Last: last, Ended: slices.Contains(stop, id)})
		if each != nil && text != "" {
			each(text)
		}
		return told.Finish == "", nil
	})
	if err != nil {
		return nil, err
	}
	ids := out[0]
	return &Continuation{Text: told.Text(), IDs: ids, Empty: whyEmpty(tk, stop, ids), Finish: told.Finish}, nil
}

// ParseCacheDType reads what [Model.CacheDType] may be.
func ParseCacheDType(name string) (nn.DType, error) {
	for _, d := range []nn.DType{nn.Float32, nn.BFloat16} {
		if d.String() == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not a storage of keys and values: choose float32 or bfloat16", name)
}

// mostAtOnce is the number of continuations that are generated at a time, at most.
const mostAtOnce = 64

// generator generates as many of n continuations at a time as a cache of so many bytes holds, one at least. The longest has so
// many tokens with its prompt, as far as the model has positions.
func (m *Model) generator(longest, n int, cache int64) (*evaluate.Generator, error) {
	compile := func(sequences int) (*evaluate.Generator, error) {
		return evaluate.CompileGenerator(m.Base, m.Adapters, m.Params, m.Pool, m.Base.Config.Vocab,
			evaluate.Memory{Context: min(m.Positions(), longest), Sequences: sequences, Cache: m.CacheDType})
	}
	g, err := compile(1)
	if err != nil {
		return nil, err
	}
	if n = min(mostAtOnce, n, int(cache/max(g.CacheBytes(), 1))); n > 1 {
		g.Close()
		if g, err = compile(n); err != nil {
			return nil, err
		}
	}
	g.Slot = m.slot
	return g, nil
}

// Complete continues many prompts of tokens, each until one of stop, as many at a time as a KV cache of so many bytes holds.
// told, if not nil, is called when one more is finished. What a prompt is continued with depends on its place among the prompts
// where tokens are drawn, and on no other prompt.
func (m *Model) Complete(ctx context.Context, prompts [][]int32, s evaluate.Sampling, stop []int32, cache int64,
	told func()) ([][]int32, error) {
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p))
	}
	g, err := m.generator(longest+s.MaxNewTokens, len(prompts), cache)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	return g.GenerateAll(prompts, s, stop, func(_ int, _ int32, last bool) (bool, error) {
		if last && told != nil {
			told()
		}
		return true, ctx.Err()
	})
}
