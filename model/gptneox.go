package model

import (
	"fmt"
	"math"
	"strings"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// neox is the GPT-NeoX family (Black et al. 2022; Pythia: Biderman et al. 2023): layer norms, rotary positions on the first part of
// each head, and one projection whose rows are, head by head, query, key and value. With use_parallel_residual attention and MLP both
// read the block's input, otherwise the MLP follows.
type neox struct {
	c          *Config
	eps        float32
	act        kernels.Act
	rope       rope
	parallel   bool
	embed      quant.Weight
	head       head
	lnfW, lnfB []float32
	layers     []neoxLayer
}

type neoxLayer struct {
	ln1W, ln1B, ln2W, ln2B []float32
	qkv, dense, up, down   linear
}

func openGPTNeoX(c *Config, l *loader) (nn.Wiring, error) {
	g := &neox{c: c}
	act, eps, theta, partial, bias := "gelu", 1e-5, 10000.0, 0.25, true
	c.MaxPositions, g.parallel = 2048, true
	if err := c.fields(
		field{"hidden_size", &c.Hidden, true}, field{"num_hidden_layers", &c.Layers, true}, field{"num_attention_heads", &c.Heads, true},
		field{"intermediate_size", &c.Intermediate, true}, field{"max_position_embeddings", &c.MaxPositions, false},
		field{"layer_norm_eps", &eps, false}, field{"hidden_act", &act, false}, field{"use_parallel_residual", &g.parallel, false},
		field{"attention_bias", &bias, false}, field{"rotary_emb_base", &theta, false}, field{"rope_theta", &theta, false},
		field{"rotary_pct", &partial, false},
	); err != nil {
		return nil, err
	}
	c.KVHeads = c.Heads
	if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.HeadDim*c.Heads != c.Hidden {
		return nil, fmt.Errorf("config.json: hidden_size %d is not a multiple of num_attention_heads %d", c.Hidden, c.Heads)
	}
	var err error
	if g.act, err = activation("hidden_act", act); err != nil {
		return nil, err
	}
	if g.rope, err = readRope(c, theta, partial); err != nil {
		return nil, err
	}
	g.eps = float32(eps)
	g.embed = l.matrix("gpt_neox.embed_in", c.Vocab, c.Hidden, false)
	for i := range c.Layers {
		n := fmt.Sprintf("gpt_neox.layers.%d.", i)
		g.layers = append(g.layers, neoxLayer{
			ln1W: l.vector(n+"input_layernorm.weight", c.Hidden), ln1B: l.vector(n+"input_layernorm.bias", c.Hidden),
			ln2W: l.vector(n+"post_attention_layernorm.weight", c.Hidden), ln2B: l.vector(n+"post_attention_layernorm.bias", c.Hidden),
			qkv:   l.linear(n+"attention.query_key_value", 3*c.Hidden, c.Hidden, bias, false),
			dense: l.linear(n+"attention.dense", c.Hidden, c.Hidden, bias, false),
			up:    l.linear(n+"mlp.dense_h_to_4h", c.Intermediate, c.Hidden, true, false),
			down:  l.linear(n+"mlp.dense_4h_to_h", c.Hidden, c.Intermediate, true, false),
		})
	}
	g.lnfW, g.lnfB = l.vector("gpt_neox.final_layer_norm.weight", c.Hidden), l.vector("gpt_neox.final_layer_norm.bias", c.Hidden)
	g.head = l.head(c, lmHead{module: "embed_out", embed: g.embed, in: c.Hidden})
	return g, nil
}

// neoxBuffer names the causal masks and frequencies that genuine checkpoints carry.
func neoxBuffer(name string) bool {
	return strings.HasSuffix(name, ".attention.bias") || strings.HasSuffix(name, ".attention.masked_bias") || rotaryBuffer(name)
}

// Wire implements nn.Wiring.
func (g *neox) Wire(b *nn.Builder) {
	c := g.c
	norm := func(name string, layer int, w, bias []float32, x nn.Ref) nn.Ref {
		return b.Site(nn.KindNorm, name, layer, &nn.LayerNorm{W: w, B: bias, D: c.Hidden, Eps: g.eps}, x)
	}
	x := b.Site(nn.KindEmbedding, "gpt_neox.embed_in", -1, &nn.Embedding{W: g.embed, V: c.Vocab, D: c.Hidden})
	for i := range g.layers {
		l := &g.layers[i]
		n := fmt.Sprintf("gpt_neox.layers.%d", i)
		a, m := n+".attention", n+".mlp"
		b.Block(i, func() {
			qkv := l.qkv.site(b, a+".query_key_value", i, norm(n+".input_layernorm", i, l.ln1W, l.ln1B, x))
			var part [3]nn.Ref
			for k := range part {
				part[k] = b.Apply(&nn.HeadColumns{From: k * c.HeadDim, To: (k + 1) * c.HeadDim, Stride: 3 * c.HeadDim}, qkv)
				if k < 2 {
					part[k] = g.rope.apply(b, c.Heads, c.HeadDim, part[k])
				}
			}
			o := b.Site(nn.KindAttention, a, i, &nn.Attention{Attn: kernels.Attn{Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.HeadDim,
				Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}}, part[:]...)
			o = b.Site(nn.KindSublayer, a, i, nil, l.dense.site(b, a+".dense", i, o), x)
			in := x
			if !g.parallel {
				x = b.Apply(nn.Add{}, x, o)
				in = x
			}
			h := norm(n+".post_attention_layernorm", i, l.ln2W, l.ln2B, in)
			y := b.Apply(&nn.Activation{Act: g.act}, l.up.site(b, m+".dense_h_to_4h", i, h))
			sub := []nn.Ref{l.down.site(b, m+".dense_4h_to_h", i, y)}
			if !g.parallel {
				sub = append(sub, x)
			}
			y = b.Site(nn.KindSublayer, m, i, nil, sub...)
			if g.parallel {
				y = b.Apply(nn.Add{}, y, o)
			}
			x = b.Site(nn.KindBlock, n, i, nil, b.Apply(nn.Add{}, x, y))
		})
	}
	x = norm("gpt_neox.final_layer_norm", -1, g.lnfW, g.lnfB, x)
	g.head.finish(b, x)
}
