package model

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// phi is the family of Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al. 2023; Li et al. 2023): one layer norm a block that attention and MLP
// both read, rotary positions on the first part of each head, and a bias in every projection, the head's too.
type phi struct {
	c          *Config
	eps        float32
	act        kernels.Act
	rope       rope
	embed      quant.Weight
	head       head
	lnfW, lnfB []float32
	layers     []phiLayer
}

type phiLayer struct {
	lnW, lnB                 []float32
	q, k, v, dense, up, down linear
}

func openPhi(c *Config, l *loader) (nn.Wiring, error) {
	g := &phi{c: c}
	act, eps, theta := "gelu_new", 1e-5, 10000.0
	c.MaxPositions = 2048
	if err := c.fields(
		field{"hidden_size", &c.Hidden, true}, field{"num_hidden_layers", &c.Layers, true}, field{"num_attention_heads", &c.Heads, true},
		field{"num_key_value_heads", &c.KVHeads, false}, field{"intermediate_size", &c.Intermediate, true},
		field{"max_position_embeddings", &c.MaxPositions, false}, field{"layer_norm_eps", &eps, false}, field{"hidden_act", &act, false},
		field{"rope_theta", &theta, false},
	); err != nil {
		return nil, err
	}
	if err := c.only("qk_layernorm", false); err != nil {
		return nil, err
	}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	var err error
	if g.act, err = activation("hidden_act", act); err != nil {
		return nil, err
	}
	if g.rope, err = readRope(c, theta, 0.5); err != nil {
		return nil, err
	}
	g.eps = float32(eps)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	g.embed = l.matrix("model.embed_tokens", c.Vocab, c.Hidden, false)
	for i := range c.Layers {
		n := fmt.Sprintf("model.layers.%d.", i)
		g.layers = append(g.layers, phiLayer{
			lnW: l.vector(n+"input_layernorm.weight", c.Hidden), lnB: l.vector(n+"input_layernorm.bias", c.Hidden),
			q:     l.linear(n+"self_attn.q_proj", q, c.Hidden, true, false),
			k:     l.linear(n+"self_attn.k_proj", kv, c.Hidden, true, false),
			v:     l.linear(n+"self_attn.v_proj", kv, c.Hidden, true, false),
			dense: l.linear(n+"self_attn.dense", c.Hidden, q, true, false),
			up:    l.linear(n+"mlp.fc1", c.Intermediate, c.Hidden, true, false),
			down:  l.linear(n+"mlp.fc2", c.Hidden, c.Intermediate, true, false),
		})
	}
	g.lnfW, g.lnfB = l.vector("model.final_layernorm.weight", c.Hidden), l.vector("model.final_layernorm.bias", c.Hidden)
	g.head = l.head(c, lmHead{module: "lm_head", embed: g.embed, in: c.Hidden, bias: true})
	return g, nil
}

// Wire implements nn.Wiring.
func (g *phi) Wire(b *nn.Builder) {
	c := g.c
	norm := func(name string, layer int, w, bias []float32, x nn.Ref) nn.Ref {
		return b.Site(nn.KindNorm, name, layer, &nn.LayerNorm{W: w, B: bias, D: c.Hidden, Eps: g.eps}, x)
	}
	x := b.Site(nn.KindEmbedding, "model.embed_tokens", -1, &nn.Embedding{W: g.embed, V: c.Vocab, D: c.Hidden})
	for i, from := range b.Layers(len(g.layers)) {
		l := &g.layers[from]
		n := fmt.Sprintf("model.layers.%d", i)
		a, m := n+".self_attn", n+".mlp"
		b.Block(i, func() {
			h := norm(n+".input_layernorm", i, l.lnW, l.lnB, x)
			q, k, v := l.q.site(b, a+".q_proj", i, h), l.k.site(b, a+".k_proj", i, h), l.v.site(b, a+".v_proj", i, h)
			o := b.Site(nn.KindAttention, a, i, &nn.Attention{Attn: kernels.Attn{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
				Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}}, g.rope.apply(b, c.Heads, c.HeadDim, q),
				g.rope.apply(b, c.KVHeads, c.HeadDim, k), v)
			o = b.Site(nn.KindSublayer, a, i, nil, l.dense.site(b, a+".dense", i, o), x)
			y := b.Apply(&nn.Activation{Act: g.act}, l.up.site(b, m+".fc1", i, h))
			y = b.Site(nn.KindSublayer, m, i, nil, l.down.site(b, m+".fc2", i, y))
			x = b.Site(nn.KindBlock, n, i, nil, b.Apply(nn.Add{}, b.Apply(nn.Add{}, o, y), x))
		})
	}
	x = norm("model.final_layernorm", -1, g.lnfW, g.lnfB, x)
	g.head.finish(b, x)
}
