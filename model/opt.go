package model

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// optOffset is the number of rows of OPT's position table that no position uses.
const optOffset = 2

// opt is the OPT family (Zhang et al. 2022): learned positions, layer norms, biases, ReLU. do_layer_norm_before says whether a norm
// precedes each sublayer or follows its residual (OPT-350M), and where word_embed_proj_dim is not hidden_size the embeddings are projected
// in and the head's input out.
type opt struct {
	c          *Config
	act        kernels.Act
	before     bool
	dim        int // of the embeddings
	embed      quant.Weight
	head       head
	positions  []float32
	projIn     *linear
	projOut    *linear
	lnfW, lnfB []float32 // nil for none
	layers     []optLayer
}

type optLayer struct {
	ln1W, ln1B, ln2W, ln2B []float32
	q, k, v, o, fc1, fc2   linear
}

func openOPT(c *Config, l *loader) (nn.Wiring, error) {
	g := &opt{c: c, before: true}
	act, bias, noFinal := "relu", true, false
	c.MaxPositions = 2048
	if err := c.fields(
		field{"hidden_size", &c.Hidden, true}, field{"num_hidden_layers", &c.Layers, true}, field{"num_attention_heads", &c.Heads, true},
		field{"ffn_dim", &c.Intermediate, true}, field{"max_position_embeddings", &c.MaxPositions, false},
		field{"activation_function", &act, false}, field{"do_layer_norm_before", &g.before, false},
		field{"word_embed_proj_dim", &g.dim, false}, field{"enable_bias", &bias, false},
		field{"_remove_final_layer_norm", &noFinal, false},
	); err != nil {
		return nil, err
	}
	if err := c.only("layer_norm_elementwise_affine", true); err != nil {
		return nil, err
	}
	c.KVHeads = c.Heads
	if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if g.dim == 0 {
		g.dim = c.Hidden
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.HeadDim*c.Heads != c.Hidden || g.dim < 0 {
		return nil, fmt.Errorf("config.json: hidden_size %d is not a multiple of num_attention_heads %d, or word_embed_proj_dim is %d",
			c.Hidden, c.Heads, g.dim)
	}
	var err error
	if g.act, err = activation("activation_function", act); err != nil {
		return nil, err
	}
	norm := func(name string) (w, b []float32) {
		return l.vector(name+".weight", c.Hidden), l.vector(name+".bias", c.Hidden)
	}
	g.embed = l.matrix("model.decoder.embed_tokens", c.Vocab, g.dim, false)
	g.positions = l.tensor("model.decoder.embed_positions.weight", c.MaxPositions+optOffset, c.Hidden)
	if g.dim != c.Hidden {
		in, out := l.linear("model.decoder.project_in", c.Hidden, g.dim, false, false),
			l.linear("model.decoder.project_out", g.dim, c.Hidden, false, false)
		g.projIn, g.projOut = &in, &out
	}
	for i := range c.Layers {
		n := fmt.Sprintf("model.decoder.layers.%d.", i)
		a := n + "self_attn."
		y := optLayer{
			q: l.linear(a+"q_proj", c.Hidden, c.Hidden, bias, false), k: l.linear(a+"k_proj", c.Hidden, c.Hidden, bias, false),
			v: l.linear(a+"v_proj", c.Hidden, c.Hidden, bias, false), o: l.linear(a+"out_proj", c.Hidden, c.Hidden, bias, false),
			fc1: l.linear(n+"fc1", c.Intermediate, c.Hidden, bias, false), fc2: l.linear(n+"fc2", c.Hidden, c.Intermediate, bias, false),
		}
		y.ln1W, y.ln1B = norm(n + "self_attn_layer_norm")
		y.ln2W, y.ln2B = norm(n + "final_layer_norm")
		g.layers = append(g.layers, y)
	}
	if g.before && !noFinal {
		g.lnfW, g.lnfB = norm("model.decoder.final_layer_norm")
	}
	g.head = l.head(c, lmHead{module: "lm_head", embed: g.embed, in: g.dim})
	return g, nil
}

// Wire implements nn.Wiring.
func (g *opt) Wire(b *nn.Builder) {
	c := g.c
	const dec = "model.decoder."
	norm := func(name string, layer int, w, bias []float32, x nn.Ref) nn.Ref {
		return b.Site(nn.KindNorm, name, layer, &nn.LayerNorm{W: w, B: bias, D: c.Hidden, Eps: 1e-5}, x)
	}
	x := b.Site(nn.KindEmbedding, dec+"embed_tokens", -1, &nn.Embedding{W: g.embed, V: c.Vocab, D: g.dim})
	if g.projIn != nil {
		x = g.projIn.site(b, dec+"project_in", -1, x)
	}
	x = b.Apply(nn.Add{}, x, b.Site(nn.KindEmbedding, dec+"embed_positions", -1,
		&nn.OffsetPositions{W: g.positions, P: c.MaxPositions, D: c.Hidden, Offset: optOffset}))
	for i := range g.layers {
		l := &g.layers[i]
		n := fmt.Sprintf("%slayers.%d", dec, i)
		a := n + ".self_attn"
		b.Block(i, func() {
			h := x
			if g.before {
				h = norm(n+".self_attn_layer_norm", i, l.ln1W, l.ln1B, x)
			}
			o := b.Site(nn.KindAttention, a, i, &nn.Attention{Attn: kernels.Attn{Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.HeadDim,
				Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}},
				l.q.site(b, a+".q_proj", i, h), l.k.site(b, a+".k_proj", i, h), l.v.site(b, a+".v_proj", i, h))
			x = b.Apply(nn.Add{}, x, b.Site(nn.KindSublayer, a, i, nil, l.o.site(b, a+".out_proj", i, o), x))
			if !g.before {
				x = norm(n+".self_attn_layer_norm", i, l.ln1W, l.ln1B, x)
			}
			h = x
			if g.before {
				h = norm(n+".final_layer_norm", i, l.ln2W, l.ln2B, x)
			}
			y := b.Apply(&nn.Activation{Act: g.act}, l.fc1.site(b, n+".fc1", i, h))
			y = b.Site(nn.KindSublayer, n+".fc2", i, nil, l.fc2.site(b, n+".fc2", i, y), x)
			x = b.Apply(nn.Add{}, x, y)
			if !g.before {
				x = norm(n+".final_layer_norm", i, l.ln2W, l.ln2B, x)
			}
			x = b.Site(nn.KindBlock, n, i, nil, x)
		})
	}
	if g.lnfW != nil {
		x = norm(dec+"final_layer_norm", -1, g.lnfW, g.lnfB, x)
	}
	if g.projOut != nil {
		x = g.projOut.site(b, dec+"project_out", -1, x)
	}
	g.head.finish(b, x)
}
