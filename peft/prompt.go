package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// PromptFields are the fields of every configuration of prompt learning. Those of the base model's shape are filled in, and must be its
// own where they are given.
type PromptFields struct {
	NumVirtualTokens         int  `json:"num_virtual_tokens"`
	TokenDim                 *int `json:"token_dim"`
	NumTransformerSubmodules *int `json:"num_transformer_submodules"`
	NumAttentionHeads        *int `json:"num_attention_heads"`
	NumLayers                *int `json:"num_layers"`
}

// promptUnused are the fields that HF does not use for causal language models. target_modules is not a field of theirs, but folders have it
// as null.
var promptUnused = map[string]any{"modules_to_save": nil, "-target_modules": nil}

// prompts is what the methods of prompt learning share: the shape of the base, and the virtual rows at its embedding. A method embeds it,
// and its Attach calls shape first.
type prompts struct {
	method    string
	nv        int // virtual tokens
	embedding nn.Site
	embed     *nn.Embedding
	attention []nn.Site // of each layer
	params    []*Param
}

func (p *prompts) Type() string           { return p.method }
func (p *prompts) Params() []*Param       { return p.params }
func (p *prompts) Frozen() []Frozen       { return nil }
func (p *prompts) Targets() []string      { return []string{p.embedding.Name} }
func (p *prompts) Segmentable() bool      { return true }
func (p *prompts) Prompt() nn.Prompt      { return nn.Prompt{Rows: p.nv} }
func (p *prompts) unused() map[string]any { return promptUnused }

// shape finds the base's sizes and settles the configuration's fields. With kv, token_dim and num_attention_heads are those of a layer's
// keys, as HF has them for prefix tuning.
func (p *prompts) shape(f *PromptFields, sites []nn.Site, kv bool) error {
	if err := atLeast(p.method, "num_virtual_tokens", f.NumVirtualTokens, 1); err != nil {
		return err
	}
	p.nv, p.embed, p.attention, p.params = f.NumVirtualTokens, nil, nil, nil
	for _, s := range sites {
		if s.Kind == nn.KindAttention {
			p.attention = append(p.attention, s)
		} else if o, ok := s.Op.(*nn.Embedding); ok && p.embed == nil {
			p.embedding, p.embed = s, o
		}
	}
	if p.embed == nil || len(p.attention) == 0 {
		return fmt.Errorf("peft: %s: the base model has no embedding of tokens or no attention layers", p.method)
	}
	a := p.attention[0].Op.(*nn.Attention)
	dim, heads := p.embed.D, a.Heads
	if kv {
		dim, heads = a.KVHeads*a.HeadDim, a.KVHeads
	}
	for _, v := range []struct {
		name string
		at   **int
		want int
	}{{"token_dim", &f.TokenDim, dim}, {"num_attention_heads", &f.NumAttentionHeads, heads}, {"num_layers", &f.NumLayers, len(p.attention)},
		{"num_transformer_submodules", &f.NumTransformerSubmodules, 1}} {
		if *v.at != nil && **v.at != v.want {
			return fmt.Errorf("peft: %s: %s = %d, but the base model's is %d; leave the field out", p.method, v.name, **v.at, v.want)
		}
		*v.at = &v.want
	}
	return nil
}

// scale multiplies given embeddings where the model, not its embedding module, scales (Gemma).
func (p *prompts) scale() float32 {
	if p.embed.Own {
		return 1
	}
	return scaleOf(p.embed.Scale)
}

// words starts virtual tokens at the embeddings of tokens, as the embedding module gives them.
func (p *prompts) words(ids []int32) func([]float32) {
	return func(dst []float32) {
		p.embed.W.Rows(dst, ids)
		if p.embed.Own {
			kernels.Scale(nil, scaleOf(p.embed.Scale), dst)
		}
	}
}

// checkTokens refuses ids that are not tokens of the base.
func (p *prompts) checkTokens(field string, ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= p.embed.V {
			return fmt.Errorf("peft: %s: %s[%d] = %d, but the base model's vocabulary is %d", p.method, field, i, id, p.embed.V)
		}
	}
	return nil
}

// at says whether s is the embedding's site.
func (p *prompts) at(s nn.Site) bool {
	return embedsTokens(s) && s.Name == p.embedding.Name
}

// insert puts the rows of prompt, [slots·nv, D], into the virtual rows of the embedding's output.
func (p *prompts) insert(b *nn.Builder, s nn.Site, prompt nn.Ref) nn.Ref {
	return b.Apply(&promptOp{d: p.embed.D, rows: p.nv, scale: p.scale()}, s.Out, prompt)
}

// encoderName is torch's name of a parameter of the prompt encoder.
func encoderName(tensor string) string { return "prompt_encoder." + tensor }

// promptOp puts prompts into the virtual rows: out[t] = scale·prompt[slot, r] for virtual row r of a document, y[t] elsewhere. The inputs
// are y [T, D] and the prompts [slots, rows, D].
type promptOp struct {
	d, rows int
	scale   float32
}

// Plan implements nn.Op.
func (o *promptOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: in[0], InPlace: []bool{true, false}, Wide: true}
}

// Forward implements nn.Op.
func (o *promptOp) Forward(w *nn.Work) {
	if len(w.Out) > 0 && &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	for i, n := range w.Step.Virtual {
		doc := w.Step.Docs[i]
		at := int(doc.Start) * o.d
		for j, v := range nn.Bank(w.In[1], max(int(doc.Slot), 0), o.rows*o.d)[:int(n)*o.d] {
			w.Out[at+j] = o.scale * v
		}
	}
}

// Backward implements nn.Op.
func (o *promptOp) Backward(w *nn.Work) {
	for i, doc := range w.Step.Docs {
		n := 0
		if w.Step.Virtual != nil {
			n = int(w.Step.Virtual[i])
		}
		text := int(doc.Start) + n
		if n > 0 && w.DIn[1] != nil {
			dst := nn.Bank(w.DIn[1], int(doc.Slot), o.rows*o.d)
			for j, g := range w.DOut[int(doc.Start)*o.d : text*o.d] {
				dst[j] += float32(o.scale * g)
			}
		}
		if w.DIn[0] != nil {
			kernels.AddTo(w.Pool, w.DIn[0][text*o.d:int(doc.End)*o.d], w.DOut[text*o.d:int(doc.End)*o.d])
		}
	}
}

// initPrompt is the field that names where virtual tokens start.
const (
	initRandom = "RANDOM"
	initText   = "TEXT"
	initSample = "SAMPLE_VOCAB"
)

// idleTokenizerKwargs are the settings of HF's tokenizers that do not change the ids of a text: where it is loaded from, and what is done
// with batches.
var idleTokenizerKwargs = []string{"cache_dir", "clean_up_tokenization_spaces", "force_download", "local_files_only", "model_max_length",
	"padding_side", "proxies",
	"token", "truncation_side", "trust_remote_code", "use_fast"}

// PromptInit are the fields of prompt tuning's start.
type PromptInit struct {
	PromptTuningInit     string         `json:"prompt_tuning_init"`
	PromptTuningInitText *string        `json:"prompt_tuning_init_text"`
	TokenizerNameOrPath  *string        `json:"tokenizer_name_or_path"`
	TokenizerKwargs      map[string]any `json:"tokenizer_kwargs"`
	// InitTokenIDs are the token ids of prompt_tuning_init_text, which this package cannot tokenize.
	InitTokenIDs []int32 `json:"prompt_tuning_init_token_ids" option:"input"`
}

// start is the first value of the prompts by prompt_tuning_init. An opened folder has its values, whatever the field says.
func (p *prompts) start(c *PromptInit, inference bool, name string, env Env, known ...string) (func([]float32), error) {
	if !slices.Contains(known, c.PromptTuningInit) {
		return nil, fmt.Errorf("peft: %s: prompt_tuning_init = %q; known: %v", p.method, c.PromptTuningInit, known)
	}
	if len(c.TokenizerKwargs) > 0 && c.PromptTuningInit != initText {
		return nil, fmt.Errorf("peft: %s: tokenizer_kwargs is for prompt_tuning_init TEXT", p.method)
	}
	switch c.PromptTuningInit {
	case initText:
		if c.PromptTuningInitText == nil || c.TokenizerNameOrPath == nil || *c.TokenizerNameOrPath == "" {
			return nil, fmt.Errorf("peft: %s: prompt_tuning_init TEXT needs prompt_tuning_init_text and tokenizer_name_or_path", p.method)
		}
		if inference {
			return normal(env.Seed, name, 1), nil
		}
		for _, k := range sortedKeys(c.TokenizerKwargs) {
			if !slices.Contains(idleTokenizerKwargs, k) {
				return nil, fmt.Errorf("peft: %s: tokenizer_kwargs has %q, which could change the ids of prompt_tuning_init_text, and "+
					"adaptflow's tokenizer does not take it; "+
					"leave it out, or set it in the tokenizer's own folder", p.method, k)
			}
		}
		if len(c.InitTokenIDs) == 0 {
			return nil, fmt.Errorf("peft: %s: prompt_tuning_init TEXT needs the text's token ids in prompt_tuning_init_token_ids, and "+
				"there are none", p.method)
		}
		if err := p.checkTokens("prompt_tuning_init_token_ids", c.InitTokenIDs); err != nil {
			return nil, err
		}
		ids := make([]int32, p.nv) // cut, or repeated from the start
		for i := range ids {
			ids[i] = c.InitTokenIDs[i%len(c.InitTokenIDs)]
		}
		return p.words(ids), nil
	case initSample:
		return p.words(sampleTokens(env.Seed, name, p.nv, p.embed.V)), nil
	}
	return normal(env.Seed, name, 1), nil
}
