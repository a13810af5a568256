package model

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// decoder is the pre-norm transformer that Llama and its kin share: RMS norms, rotary positions, grouped queries, a gated MLP.
type decoder struct {
	c       *Config
	eps     float32
	act     kernels.Act
	rope    *kernels.RopeTable
	windows []int // sliding window of each layer, 0 for none

	embed  quant.Weight
	head   quant.Weight
	norm   []float32
	layers []decoderLayer
}

type decoderLayer struct {
	norm1, norm2   []float32
	q, k, v, o     linear
	gate, up, down linear
}

// biases says which projections of a layer have one.
type biases struct{ qkv, o, mlp bool }

// readDecoder reads the keys of config.json that these families share. The family checks what is its own.
func readDecoder(c *Config) (*decoder, error) {
	d := &decoder{c: c}
	act, eps, theta := "silu", 1e-6, 10000.0
	c.MaxPositions = 2048
	if err := c.fields(
		field{"hidden_size", &c.Hidden, true}, field{"num_hidden_layers", &c.Layers, true}, field{"num_attention_heads", &c.Heads, true},
		field{"num_key_value_heads", &c.KVHeads, false}, field{"head_dim", &c.HeadDim, false}, field{"intermediate_size", &c.Intermediate, true},
		field{"max_position_embeddings", &c.MaxPositions, false}, field{"rms_norm_eps", &eps, false}, field{"rope_theta", &theta, false},
		field{"hidden_act", &act, false},
	); err != nil {
		return nil, err
	}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	d.eps = float32(eps)
	var err error
	if d.act, err = activation("hidden_act", act); err != nil {
		return nil, err
	}
	d.rope, err = ropeTable(c, c.HeadDim, theta)
	d.windows = make([]int, c.Layers)
	return d, err
}

// load reads the weights.
func (d *decoder) load(l *loader, has biases) {
	c := d.c
	d.embed = l.matrix("model.embed_tokens", c.Vocab, c.Hidden, false)
	for i := range c.Layers {
		n := fmt.Sprintf("model.layers.%d.", i)
		a, m := n+"self_attn.", n+"mlp."
		d.layers = append(d.layers, decoderLayer{
			norm1: l.vector(n+"input_layernorm.weight", c.Hidden),
			q:     l.linear(a+"q_proj", c.Heads*c.HeadDim, c.Hidden, has.qkv, false),
			k:     l.linear(a+"k_proj", c.KVHeads*c.HeadDim, c.Hidden, has.qkv, false),
			v:     l.linear(a+"v_proj", c.KVHeads*c.HeadDim, c.Hidden, has.qkv, false),
			o:     l.linear(a+"o_proj", c.Hidden, c.Heads*c.HeadDim, has.o, false),
			norm2: l.vector(n+"post_attention_layernorm.weight", c.Hidden),
			gate:  l.linear(m+"gate_proj", c.Intermediate, c.Hidden, has.mlp, false),
			up:    l.linear(m+"up_proj", c.Intermediate, c.Hidden, has.mlp, false),
			down:  l.linear(m+"down_proj", c.Hidden, c.Intermediate, has.mlp, false),
		})
	}
	d.norm = l.vector("model.norm.weight", c.Hidden)
	d.head = l.head("lm_head", "model.embed_tokens", d.embed, c)
}

// head reads the head's weight: the embedding's where they are tied, which a file may store twice all the same.
func (l *loader) head(module, embedding string, embed quant.Weight, c *Config) quant.Weight {
	if !c.Tied {
		return l.matrix(module, c.Vocab, c.Hidden, false)
	}
	l.used[module+".weight"] = true
	return embed
}

// Wire implements nn.Wiring.
func (d *decoder) Wire(b *nn.Builder) {
	c := d.c
	norm := func(name string, layer int, w []float32, x nn.Ref) nn.Ref {
		return b.Site(nn.KindNorm, name, layer, &nn.RMSNorm{W: w, D: c.Hidden, Eps: d.eps}, x)
	}
	rope := func(heads int, x nn.Ref) nn.Ref {
		return b.Apply(&nn.Rope{Heads: heads, HeadDim: c.HeadDim, RotaryDim: c.HeadDim, Table: d.rope}, x)
	}
	x := b.Site(nn.KindEmbedding, "model.embed_tokens", -1, &nn.Embedding{W: d.embed, V: c.Vocab, D: c.Hidden})
	for i := range d.layers {
		l := &d.layers[i]
		n := fmt.Sprintf("model.layers.%d", i)
		a, m := n+".self_attn", n+".mlp"
		b.Block(i, func() {
			h := norm(n+".input_layernorm", i, l.norm1, x)
			q, k, v := l.q.site(b, a+".q_proj", i, h), l.k.site(b, a+".k_proj", i, h), l.v.site(b, a+".v_proj", i, h)
			o := b.Site(nn.KindAttention, a, i, &nn.Attention{Attn: kernels.Attn{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
				Scale: float32(1 / math.Sqrt(float64(c.HeadDim))), Window: d.windows[i]}}, rope(c.Heads, q), rope(c.KVHeads, k), v)
			o = b.Site(nn.KindSublayer, a, i, nil, l.o.site(b, a+".o_proj", i, o))
			x = b.Apply(nn.Add{}, x, o)
			h = norm(n+".post_attention_layernorm", i, l.norm2, x)
			y := b.Apply(&nn.GatedAct{Act: d.act}, l.gate.site(b, m+".gate_proj", i, h), l.up.site(b, m+".up_proj", i, h))
			y = b.Site(nn.KindSublayer, m, i, nil, l.down.site(b, m+".down_proj", i, y))
			x = b.Site(nn.KindBlock, n, i, nil, b.Apply(nn.Add{}, x, y))
		})
	}
	x = norm("model.norm", -1, d.norm, x)
	b.Finish(b.Site(nn.KindHead, "lm_head", -1, &nn.Head{W: d.head, V: c.Vocab, D: c.Hidden}, x))
}
