package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// AdaptionPromptConfig is HF's AdaptionPromptConfig.
type AdaptionPromptConfig struct {
	Common
	TargetModules *string `json:"target_modules"`
	AdapterLen    *int    `json:"adapter_len"`
	AdapterLayers *int    `json:"adapter_layers"`
}

// adaptionPrompt is LLaMA-Adapter (Zhang et al. 2023, arXiv:2303.16199): in the last adapter_layers layers each token also attends to
// adapter_len trained vectors P, by a softmax of its own whose result a gate g multiplies, attention(q, K, V) +
// g·softmax(q·(Wk·P)ᵀ/√d)·(Wv·P) with the base's own projections. The rotated queries meet keys that are not rotated. g starts at 0:
// training starts at the base model.
type adaptionPrompt struct {
	cfg    AdaptionPromptConfig
	layers []adaptedLayer
	params []*Param
}

type adaptedLayer struct {
	name         string
	k, v         nn.Linear
	prompt, gate *Param
}

func newAdaptionPrompt() Method {
	return &adaptionPrompt{cfg: AdaptionPromptConfig{Common: newCommon("ADAPTION_PROMPT")}}
}

func (p *adaptionPrompt) Type() string      { return "ADAPTION_PROMPT" }
func (p *adaptionPrompt) Config() any       { return &p.cfg }
func (p *adaptionPrompt) Params() []*Param  { return p.params }
func (p *adaptionPrompt) Frozen() []Frozen  { return nil }
func (p *adaptionPrompt) Segmentable() bool { return true }

// Targets implements Method.
func (p *adaptionPrompt) Targets() []string {
	var out []string
	for _, l := range p.layers {
		out = append(out, l.name)
	}
	return out
}

// Attach implements Method.
func (p *adaptionPrompt) Attach(sites []nn.Site, env Env) error {
	c := &p.cfg
	if !slices.Contains([]string{"llama", "mistral", ""}, env.ModelType) { // "": not known
		return fmt.Errorf("peft: ADAPTION_PROMPT: the base model is of type %q; it must be llama or mistral", env.ModelType)
	}
	if c.TargetModules == nil {
		name := "self_attn"
		c.TargetModules = &name
	} else if *c.TargetModules != "self_attn" {
		return fmt.Errorf("peft: ADAPTION_PROMPT: target_modules = %q; it must be \"self_attn\", the attention of the base model's layers",
			*c.TargetModules)
	}
	if c.AdapterLen == nil || c.AdapterLayers == nil {
		return fmt.Errorf("peft: ADAPTION_PROMPT: adapter_len and adapter_layers must be given: how many vectors, in how many of the " +
			"last layers")
	}
	if err := firstError(atLeast(p.Type(), "adapter_len", *c.AdapterLen, 1),
		atLeast(p.Type(), "adapter_layers", *c.AdapterLayers, 1)); err != nil {
		return err
	}
	linear := map[string]*nn.Linear{}
	var names []string
	for _, s := range sites {
		if o, ok := s.Op.(*nn.Linear); ok {
			linear[s.Name] = o
		} else if s.Kind == nn.KindAttention {
			names = append(names, s.Name)
		}
	}
	if *c.AdapterLayers > len(names) {
		return fmt.Errorf("peft: ADAPTION_PROMPT: adapter_layers = %d, but the base model has %d layers", *c.AdapterLayers, len(names))
	}
	p.layers, p.params = nil, nil
	for _, n := range names[len(names)-*c.AdapterLayers:] {
		k, v, o := linear[n+".k_proj"], linear[n+".v_proj"], linear[n+".o_proj"]
		if k == nil || v == nil || o == nil {
			return fmt.Errorf("peft: ADAPTION_PROMPT: %s has no k_proj, v_proj or o_proj", n)
		}
		if o.Bias != nil {
			return fmt.Errorf("peft: ADAPTION_PROMPT: %s.o_proj has a bias, which Hugging Face PEFT would add twice; it is for models "+
				"without", n)
		}
		l := adaptedLayer{name: n, k: *k, v: *v, prompt: newParam("base_model.model."+n+".adaption_prompt",
			"base_model.model."+n+".adaption_prompt", normal(env.Seed, n+".adaption_prompt", 1), 1, *c.AdapterLen, k.In),
			gate: newParam("base_model.model."+n+".adaption_gate", "base_model.model."+n+".adaption_gate", zeros, 1)}
		p.layers, p.params = append(p.layers, l), append(p.params, l.gate, l.prompt)
	}
	return nil
}

// Adapt implements nn.Adapter.
func (p *adaptionPrompt) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	a, ok := s.Op.(*nn.Attention)
	i := slices.IndexFunc(p.layers, func(l adaptedLayer) bool { return l.name == s.Name })
	if !ok || i < 0 {
		return s.Out
	}
	l, n := &p.layers[i], *p.cfg.AdapterLen
	rows := b.Apply(&bankOp{n * b.Slots(), l.k.In}, l.prompt.param(b))
	k, v := b.Apply(&l.k, rows), b.Apply(&l.v, rows)
	return b.Apply(&gatedAttention{a.Heads, a.KVHeads, a.HeadDim, n}, s.Out, s.In[0], k, v, l.gate.param(b))
}

// gatedAttention is y + g·softmax(q·kᵀ/√d)·v, with the n keys and values of each token's slot. The inputs are y and q [T, heads·d],
// k and v [slots·n, kv·d], and the bank of g [1].
type gatedAttention struct{ heads, kv, d, n int }

// Plan implements nn.Op.
func (o *gatedAttention) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: in[0], InPlace: []bool{true, false, false, false, false}, ReadsIn: []bool{false, true, true, true, true},
		Scratch: func(nn.Caps, int) int { return o.kv * (2*o.n + o.d + in[2].Count/o.n) }}
}

// each calls f for every token and query head of a group of heads that share keys, with the place of the head's values and of the keys'.
func (o *gatedAttention) each(w *nn.Work, group int, f func(slot, q, kv int)) {
	share := o.heads / o.kv
	w.EachSegment(func(start, end, slot int) {
		for t := start; slot >= 0 && t < end; t++ {
			for h := range share {
				f(slot, (t*o.heads+group*share+h)*o.d, (slot*o.n*o.kv+group)*o.d)
			}
		}
	})
}

// softmax writes the weights of the keys at kv for the query into p.
func (o *gatedAttention) softmax(p, q, k []float32, kv int) {
	scale := float32(1 / math.Sqrt(float64(o.d)))
	most := float32(math.Inf(-1))
	for j := range p {
		p[j] = scale * inner(q, k[kv+j*o.kv*o.d:])
		most = max(most, p[j])
	}
	sum := float32(0)
	for j := range p {
		p[j] = float32(math.Exp(float64(p[j] - most)))
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
}

func inner(x, y []float32) float32 {
	sum := float32(0)
	for i, v := range x {
		sum += float32(v * y[i])
	}
	return sum
}

// Forward implements nn.Op.
func (o *gatedAttention) Forward(w *nn.Work) {
	if len(w.Out) > 0 && &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	q, k, v, g := w.In[1], w.In[2], w.In[3], w.In[4]
	w.Pool.Run(o.kv, func(group int) {
		p := w.Scratch[group*o.n:][:o.n]
		o.each(w, group, func(slot, at, kv int) {
			o.softmax(p, q[at:at+o.d], k, kv)
			out := w.Out[at : at+o.d]
			for j, x := range p {
				x *= g[slot]
				for i, y := range v[kv+j*o.kv*o.d:][:o.d] {
					out[i] += float32(x * y)
				}
			}
		})
	})
}

// Backward implements nn.Op. Each group of heads has its own keys; the gate's gradient is summed over the groups in their order.
func (o *gatedAttention) Backward(w *nn.Work) {
	q, k, v, g := w.In[1], w.In[2], w.In[3], w.In[4]
	scale := float32(1 / math.Sqrt(float64(o.d)))
	size := 2*o.n + len(g)
	w.Pool.Run(o.kv, func(group int) {
		s := w.Scratch[group*size:][:size]
		p, dp, dg := s[:o.n], s[o.n:2*o.n], s[2*o.n:]
		clear(dg)
		o.each(w, group, func(slot, at, kv int) {
			o.softmax(p, q[at:at+o.d], k, kv)
			dy := w.DOut[at : at+o.d]
			mean := float32(0) // of dy·v_j under p
			for j := range p {
				dp[j] = inner(dy, v[kv+j*o.kv*o.d:])
				mean += float32(p[j] * dp[j])
			}
			dg[slot] += mean
			for j := range p {
				row := kv + j*o.kv*o.d
				ds, x := scale*g[slot]*p[j]*(dp[j]-mean), g[slot]*p[j]
				for i := range o.d {
					if w.DIn[1] != nil {
						w.DIn[1][at+i] += float32(ds * k[row+i])
					}
					if w.DIn[2] != nil {
						w.DIn[2][row+i] += float32(ds * q[at+i])
					}
					if w.DIn[3] != nil {
						w.DIn[3][row+i] += float32(x * dy[i])
					}
				}
			}
		})
	})
	if w.DIn[4] != nil {
		for group := range o.kv {
			for slot, x := range w.Scratch[group*size+2*o.n:][:len(g)] {
				w.DIn[4][slot] += x
			}
		}
	}
	if w.DIn[0] != nil {
		for i, x := range w.DOut {
			w.DIn[0][i] += x
		}
	}
}
