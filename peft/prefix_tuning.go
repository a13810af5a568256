package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// PrefixTuningConfig is HF's PrefixTuningConfig.
type PrefixTuningConfig struct {
	Common
	PromptFields
	InitWeights      *string `json:"init_weights"`
	HiddenSize       *int    `json:"encoder_hidden_size"`
	PrefixProjection bool    `json:"prefix_projection"`
	// InitPrefix is a safetensors file with prompt_embeddings [num_virtual_tokens, layers·2·token_dim], the keys and values to start from.
	InitPrefix string `json:"prefix_init_path" option:"input"`
}

// prefixTuning is prefix tuning (Li and Liang 2021, arXiv:2101.00190): in every layer trained keys and values stand before those of the
// text, attention(q, [Pk; K], [Pv; V]), and the text's positions begin after them. With prefix_projection they are an MLP's output,
// W2·tanh(W1·e); as in HF's folder the output is saved, and an opened adapter goes on from it. A real prefix may give the first values.
type prefixTuning struct {
	prompts
	cfg     PrefixTuningConfig
	vectors *Param
	mlp     []dense
	kv      int // keys of a layer
	open    bool
}

func newPrefixTuning() Method {
	p := &prefixTuning{cfg: PrefixTuningConfig{Common: newCommon("PREFIX_TUNING")}}
	p.method = "PREFIX_TUNING"
	return p
}

func (p *prefixTuning) Config() any       { return &p.cfg }
func (p *prefixTuning) Prompt() nn.Prompt { return nn.Prompt{Shift: p.nv} }

// Targets implements Method.
func (p *prefixTuning) Targets() []string {
	var out []string
	for _, s := range p.attention {
		out = append(out, s.Name)
	}
	return out
}

// Attach implements Method.
func (p *prefixTuning) Attach(sites []nn.Site, env Env) error {
	c := &p.cfg
	if err := p.shape(&c.PromptFields, sites, true); err != nil {
		return err
	}
	p.kv = *c.TokenDim
	for _, s := range p.attention {
		a := s.Op.(*nn.Attention)
		if a.KVHeads*a.HeadDim != p.kv {
			return fmt.Errorf("peft: PREFIX_TUNING: the layers of the base model have keys of %d and %d values; prefix tuning wants them "+
				"alike", p.kv, a.KVHeads*a.HeadDim)
		}
		// The reference hides keys of the prefix that the window has left behind; here every token sees all of them.
		if a.Window > 0 {
			return fmt.Errorf("peft: PREFIX_TUNING: %s has a sliding window of %d tokens, which in HF PEFT hides the prefix from later "+
				"ones, and adaptflow does not; "+
				"use PROMPT_TUNING or P_TUNING for this model", s.Name, a.Window)
		}
	}
	if c.HiddenSize == nil {
		d := p.kv
		c.HiddenSize = &d
	}
	zero := false
	if c.InitWeights != nil {
		if zero = *c.InitWeights == "zero"; !zero {
			return fmt.Errorf("peft: PREFIX_TUNING: init_weights = %q; it must be null or \"zero\"", *c.InitWeights)
		}
	}
	name := encoderName("embedding.weight")
	all := len(p.attention) * 2 * p.kv
	p.open, p.mlp = false, nil
	p.vectors = newParam(name, "prompt_embeddings", normal(env.Seed, name, 1), p.nv, all)
	if zero {
		p.vectors.Init = zeros
	}
	p.params = []*Param{p.vectors}
	if c.InitPrefix != "" {
		return p.prefix(c.InitPrefix)
	}
	if !c.PrefixProjection {
		return nil
	}
	h := *c.HiddenSize
	if err := atLeast(p.method, "encoder_hidden_size", h, 1); err != nil {
		return err
	}
	p.vectors = newParam(name, "", normal(env.Seed, name, 1), p.nv, p.kv)
	p.mlp = []dense{newDense(env, "transform.0", p.kv, h, "tanh"), newDense(env, "transform.2", h, all, "")}
	if zero {
		p.mlp[1].w.Init, p.mlp[1].b.Init = zeros, zeros
	}
	p.params = []*Param{p.vectors, p.mlp[0].w, p.mlp[0].b, p.mlp[1].w, p.mlp[1].b}
	return nil
}

// prefix starts from keys and values of a file.
func (p *prefixTuning) prefix(path string) error {
	if p.cfg.PrefixProjection {
		return fmt.Errorf("peft: PREFIX_TUNING: prefix_init_path cannot give the first values of an encoder; set prefix_projection: false")
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("peft: PREFIX_TUNING: prefix_init_path: %w", err)
	}
	defer f.Close()
	v, err := tensor(f, path, "prompt_embeddings", p.vectors.Shape)
	if err != nil {
		return err
	}
	p.vectors.Init = func(d []float32) { copy(d, v) }
	return nil
}

// Adapt implements nn.Adapter.
func (p *prefixTuning) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	if p.at(s) {
		p.wire(b) // outside the blocks, which share it
		return s.Out
	}
	a, ok := s.Op.(*nn.Attention)
	if !ok {
		return s.Out
	}
	layer := slices.IndexFunc(p.attention, func(t nn.Site) bool { return t.Name == s.Name })
	cut := func(part int) nn.Ref {
		at := (2*layer + part) * p.kv
		return b.Apply(&prefixColumns{rows: p.nv * b.Slots(), from: at, to: at + p.kv, all: len(p.attention) * 2 * p.kv}, p.wire(b))
	}
	return b.Apply(&nn.Attention{Attn: a.Attn, PrefixLen: p.nv}, s.In[0], s.In[1], s.In[2], cut(0), cut(1))
}

// wire is the keys and values of all layers, [slots·nv, layers·2·kv].
func (p *prefixTuning) wire(b *nn.Builder) nn.Ref {
	return b.Once("prefix", func() nn.Ref {
		x := p.vectors.param(b)
		if p.open || p.mlp == nil {
			return x
		}
		x = b.Apply(&bankOp{p.nv * b.Slots(), p.kv}, x)
		return p.mlp[1].wire(b, p.nv, p.mlp[0].wire(b, p.nv, x))
	})
}

// Encode implements Encoder.
func (p *prefixTuning) Encode(value func(string) []float32) []Frozen {
	if p.open || p.mlp == nil {
		return nil
	}
	x := p.mlp[1].values(value, p.mlp[0].values(value, value(p.vectors.Name)))
	return []Frozen{{Key: "prompt_embeddings", Shape: []int{p.nv, p.mlp[1].out}, Values: func() []float32 { return x }}}
}

// Reopen implements Encoder.
func (p *prefixTuning) Reopen(func(string, ...int) ([]float32, error)) error {
	p.open = true
	p.vectors = newParam(p.vectors.Name, "prompt_embeddings", zeros, p.nv, len(p.attention)*2*p.kv)
	p.params = []*Param{p.vectors}
	return nil
}

// prefixColumns is the columns [from, to) of a bank or value [rows, all].
type prefixColumns struct{ rows, from, to, all int }

// Plan implements nn.Op.
func (o *prefixColumns) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: nn.Shape{Count: o.rows, Cols: o.to - o.from}, Wide: true}
}

// Forward implements nn.Op.
func (o *prefixColumns) Forward(w *nn.Work) {
	n := o.to - o.from
	for r := range o.rows {
		copy(w.Out[r*n:(r+1)*n], w.In[0][r*o.all+o.from:])
	}
}

// Backward implements nn.Op.
func (o *prefixColumns) Backward(w *nn.Work) {
	n := o.to - o.from
	for r := range o.rows {
		kernels.AddTo(nil, w.DIn[0][r*o.all+o.from:r*o.all+o.to], w.DOut[r*n:(r+1)*n])
	}
}
