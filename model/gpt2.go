package model

import (
	"fmt"
	"math"
	"strings"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// gpt2 is the GPT-2 family (Radford et al. 2019): learned positions, layer norms, one projection for query, key and value, and
// weights stored [in, out] (Conv1D).
type gpt2 struct {
	c          *Config
	eps        float32
	act        kernels.Act
	scale      float32
	wte        quant.Weight
	head       head
	wpe        []float32
	lnfW, lnfB []float32
	layers     []gpt2Layer
}

type gpt2Layer struct {
	ln1W, ln1B, ln2W, ln2B  []float32
	attn, proj, fc, mlpProj linear
}

func openGPT2(c *Config, l *loader) (nn.Wiring, error) {
	g := &gpt2{c: c}
	act, eps, scaled := "gelu_new", 1e-5, true
	c.MaxPositions = 1024
	if err := c.fields(
		field{"n_embd", &c.Hidden, true}, field{"n_layer", &c.Layers, true}, field{"n_head", &c.Heads, true},
		field{"n_positions", &c.MaxPositions, false},
		field{"n_inner", &c.Intermediate, false}, field{"layer_norm_epsilon", &eps, false}, field{"activation_function", &act, false},
		field{"scale_attn_weights", &scaled, false},
	); err != nil {
		return nil, err
	}
	for _, key := range []string{"scale_attn_by_inverse_layer_idx", "add_cross_attention"} {
		if err := c.only(key, false); err != nil {
			return nil, err
		}
	}
	c.KVHeads = c.Heads
	if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if c.Intermediate == 0 {
		c.Intermediate = 4 * c.Hidden
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.HeadDim*c.Heads != c.Hidden {
		return nil, fmt.Errorf("config.json: n_embd %d is not a multiple of n_head %d", c.Hidden, c.Heads)
	}
	var err error
	if g.act, err = activation("activation_function", act); err != nil {
		return nil, err
	}
	g.eps, g.scale = float32(eps), 1
	if scaled {
		g.scale = float32(1 / math.Sqrt(float64(c.HeadDim)))
	}
	g.wte = l.matrix("transformer.wte", c.Vocab, c.Hidden, false)
	g.wpe = l.tensor("transformer.wpe.weight", c.MaxPositions, c.Hidden)
	for i := range c.Layers {
		n := fmt.Sprintf("transformer.h.%d.", i)
		g.layers = append(g.layers, gpt2Layer{
			ln1W: l.vector(n+"ln_1.weight", c.Hidden), ln1B: l.vector(n+"ln_1.bias", c.Hidden),
			attn: l.linear(n+"attn.c_attn", 3*c.Hidden, c.Hidden, true, true),
			proj: l.linear(n+"attn.c_proj", c.Hidden, c.Hidden, true, true),
			ln2W: l.vector(n+"ln_2.weight", c.Hidden), ln2B: l.vector(n+"ln_2.bias", c.Hidden),
			fc:      l.linear(n+"mlp.c_fc", c.Intermediate, c.Hidden, true, true),
			mlpProj: l.linear(n+"mlp.c_proj", c.Hidden, c.Intermediate, true, true),
		})
	}
	g.lnfW, g.lnfB = l.vector("transformer.ln_f.weight", c.Hidden), l.vector("transformer.ln_f.bias", c.Hidden)
	g.head = l.head(c, lmHead{module: "lm_head", embed: g.wte, in: c.Hidden})
	return g, nil
}

// gpt2Buffer names the causal masks that old checkpoints carry.
func gpt2Buffer(name string) bool {
	return strings.HasSuffix(name, ".attn.bias") || strings.HasSuffix(name, ".attn.masked_bias")
}

// Wire implements nn.Wiring.
func (g *gpt2) Wire(b *nn.Builder) {
	c := g.c
	norm := func(name string, layer int, w, bias []float32, x nn.Ref) nn.Ref {
		return b.Site(nn.KindNorm, name, layer, &nn.LayerNorm{W: w, B: bias, D: c.Hidden, Eps: g.eps}, x)
	}
	x := b.Apply(nn.Add{}, b.Site(nn.KindEmbedding, "transformer.wte", -1, &nn.Embedding{W: g.wte, V: c.Vocab, D: c.Hidden}),
		b.Site(nn.KindEmbedding, "transformer.wpe", -1, &nn.PositionEmbedding{W: g.wpe, P: c.MaxPositions, D: c.Hidden}))
	for i := range g.layers {
		l := &g.layers[i]
		n := fmt.Sprintf("transformer.h.%d", i)
		b.Block(i, func() {
			h := norm(n+".ln_1", i, l.ln1W, l.ln1B, x)
			qkv := l.attn.site(b, n+".attn.c_attn", i, h)
			var part [3]nn.Ref
			for k := range part {
				part[k] = b.Apply(&nn.Columns{From: k * c.Hidden, To: (k + 1) * c.Hidden}, qkv)
			}
			o := b.Site(nn.KindAttention, n+".attn", i,
				&nn.Attention{Attn: kernels.Attn{Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.HeadDim, Scale: g.scale}}, part[:]...)
			o = b.Site(nn.KindSublayer, n+".attn", i, nil, l.proj.site(b, n+".attn.c_proj", i, o), x)
			x = b.Apply(nn.Add{}, x, o)
			h = norm(n+".ln_2", i, l.ln2W, l.ln2B, x)
			y := b.Apply(&nn.Activation{Act: g.act}, l.fc.site(b, n+".mlp.c_fc", i, h))
			y = b.Site(nn.KindSublayer, n+".mlp", i, nil, l.mlpProj.site(b, n+".mlp.c_proj", i, y), x)
			x = b.Site(nn.KindBlock, n, i, nil, b.Apply(nn.Add{}, x, y))
		})
	}
	x = norm("transformer.ln_f", -1, g.lnfW, g.lnfB, x)
	g.head.finish(b, x)
}
