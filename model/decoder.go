package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// decoder is the pre-norm transformer that Llama and its kin share: RMS norms, rotary positions, grouped queries, a gated MLP.
// The fields that a family leaves at zero are what Llama has.
type decoder struct {
	c          *Config
	eps        float32
	act        kernels.Act
	ropes      []rope  // of each layer
	windows    []int   // sliding window of each layer, 0 for none
	scale      float32 // multiplies q·k
	cap        float32 // soft cap of the attention scores (Gemma 2)
	headCap    float32 // soft cap of the logits (Gemma 2)
	embedScale float32 // of the embeddings (Gemma)
	embedOwn   bool    // the embedding module itself scales (Gemma 3)
	addOne     bool    // norms multiply by 1+w (Gemma)

	embed  quant.Weight
	head   head
	norm   []float32
	layers []decoderLayer
}

type decoderLayer struct {
	norm1, norm2      []float32
	postAttn, postMLP []float32 // norms of the sublayers' outputs (Gemma 2), nil for none
	qNorm, kNorm      []float32 // norms of each head (Qwen 3), nil for none
	q, k, v, o        linear
	gate, up, down    linear
	qkv, gateUp       linear // in place of q, k, v and of gate, up (Phi-3)
	fused             bool
}

// parts says what a family's layers are made of.
type parts struct {
	qkvBias, oBias, mlpBias bool
	fused                   bool // qkv_proj and gate_up_proj
	qkNorm                  bool // q_norm and k_norm
	sandwich                bool // a norm before and after each sublayer
}

// decoderDefaults are what absent keys of config.json mean; zero for what the key itself decides.
type decoderDefaults struct {
	kvHeads, headDim, positions int
	eps, theta, partial         float64
	act                         string
}

// readDecoder reads the keys of config.json that these families share. The family checks what is its own.
func readDecoder(c *Config, def decoderDefaults) (*decoder, error) {
	d := &decoder{c: c}
	c.KVHeads, c.HeadDim, c.MaxPositions = def.kvHeads, def.headDim, def.positions
	act, eps, theta := def.act, def.eps, def.theta
	if err := c.fields(
		field{"hidden_size", &c.Hidden, true}, field{"num_hidden_layers", &c.Layers, true}, field{"num_attention_heads", &c.Heads, true},
		field{"num_key_value_heads", &c.KVHeads, false}, field{"head_dim", &c.HeadDim, false},
		field{"intermediate_size", &c.Intermediate, true},
		field{"max_position_embeddings", &c.MaxPositions, false}, field{"rms_norm_eps", &eps, false}, field{"rope_theta", &theta, false},
	); err != nil {
		return nil, err
	}
	for _, key := range []string{"hidden_act", "hidden_activation"} {
		if err := c.fields(field{key, &act, false}); err != nil {
			return nil, err
		}
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
	d.eps, d.scale = float32(eps), float32(1/math.Sqrt(float64(c.HeadDim)))
	var err error
	if d.act, err = activation("hidden_act", act); err != nil {
		return nil, err
	}
	r, err := readRope(c, theta, def.partial)
	d.ropes, d.windows = slices.Repeat([]rope{r}, c.Layers), make([]int, c.Layers)
	return d, err
}

// llamaDefaults are LlamaConfig's.
var llamaDefaults = decoderDefaults{positions: 2048, eps: 1e-6, theta: 10000, partial: 1, act: "silu"}

// slidingLayers says which layers slide: those that layer_types names, or else those of the family's rule.
func (d *decoder) slidingLayers(rule func(layer int) bool) ([]bool, error) {
	var types []string
	if _, err := d.c.read("layer_types", &types); err != nil {
		return nil, err
	}
	if types != nil && len(types) != d.c.Layers {
		return nil, fmt.Errorf("config.json: layer_types has %d entries for %d layers", len(types), d.c.Layers)
	}
	slides := make([]bool, d.c.Layers)
	for i := range slides {
		switch {
		case types == nil:
			slides[i] = rule(i)
		case types[i] == "sliding_attention":
			slides[i] = true
		case types[i] != "full_attention":
			return nil, fmt.Errorf("config.json: layer_types: %q is not supported (supported: full_attention, sliding_attention)", types[i])
		}
	}
	return slides, nil
}

// slide gives the layers that slide a window.
func (d *decoder) slide(window int, rule func(layer int) bool) error {
	slides, err := d.slidingLayers(rule)
	for i, s := range slides {
		if s {
			d.windows[i] = window
		}
	}
	if err == nil && window < 0 {
		return fmt.Errorf("config.json: sliding_window is %d", window)
	}
	return err
}

func everyLayer(int) bool { return true }

// load reads the weights.
func (d *decoder) load(l *loader, p parts) {
	c := d.c
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	d.embed = l.matrix("model.embed_tokens", c.Vocab, c.Hidden, false)
	for i := range c.Layers {
		n := fmt.Sprintf("model.layers.%d.", i)
		a, m := n+"self_attn.", n+"mlp."
		y := decoderLayer{fused: p.fused, norm1: l.vector(n+"input_layernorm.weight", c.Hidden)}
		if p.fused {
			y.qkv = l.linear(a+"qkv_proj", q+2*kv, c.Hidden, p.qkvBias, false)
		} else {
			y.q = l.linear(a+"q_proj", q, c.Hidden, p.qkvBias, false)
			y.k = l.linear(a+"k_proj", kv, c.Hidden, p.qkvBias, false)
			y.v = l.linear(a+"v_proj", kv, c.Hidden, p.qkvBias, false)
		}
		if p.qkNorm {
			y.qNorm, y.kNorm = l.vector(a+"q_norm.weight", c.HeadDim), l.vector(a+"k_norm.weight", c.HeadDim)
		}
		y.o = l.linear(a+"o_proj", c.Hidden, q, p.oBias, false)
		if p.sandwich {
			y.postAttn = l.vector(n+"post_attention_layernorm.weight", c.Hidden)
			y.norm2 = l.vector(n+"pre_feedforward_layernorm.weight", c.Hidden)
			y.postMLP = l.vector(n+"post_feedforward_layernorm.weight", c.Hidden)
		} else {
			y.norm2 = l.vector(n+"post_attention_layernorm.weight", c.Hidden)
		}
		if p.fused {
			y.gateUp = l.linear(m+"gate_up_proj", 2*c.Intermediate, c.Hidden, p.mlpBias, false)
		} else {
			y.gate = l.linear(m+"gate_proj", c.Intermediate, c.Hidden, p.mlpBias, false)
			y.up = l.linear(m+"up_proj", c.Intermediate, c.Hidden, p.mlpBias, false)
		}
		y.down = l.linear(m+"down_proj", c.Hidden, c.Intermediate, p.mlpBias, false)
		d.layers = append(d.layers, y)
	}
	d.norm = l.vector("model.norm.weight", c.Hidden)
	d.head = l.head(c, lmHead{module: "lm_head", embed: d.embed, in: c.Hidden, cap: d.headCap})
}

// Wire implements nn.Wiring.
func (d *decoder) Wire(b *nn.Builder) {
	x := b.Site(nn.KindEmbedding, "model.embed_tokens", -1,
		&nn.Embedding{W: d.embed, V: d.c.Vocab, D: d.c.Hidden, Scale: d.embedScale, Own: d.embedOwn})
	for i, from := range b.Layers(len(d.layers)) {
		l := &d.layers[from]
		n := fmt.Sprintf("model.layers.%d", i)
		second := n + ".post_attention_layernorm"
		if l.postAttn != nil {
			second = n + ".pre_feedforward_layernorm"
		}
		b.Block(i, func() {
			o := d.attend(b, l, n+".self_attn", i, from, x, d.site(b, n+".input_layernorm", i, l.norm1, x))
			if l.postAttn != nil {
				o = d.site(b, n+".post_attention_layernorm", i, l.postAttn, o)
			}
			x = b.Apply(nn.Add{}, x, o)
			y := d.mlp(b, l, n+".mlp", i, x, d.site(b, second, i, l.norm2, x))
			if l.postMLP != nil {
				y = d.site(b, n+".post_feedforward_layernorm", i, l.postMLP, y)
			}
			x = b.Site(nn.KindBlock, n, i, nil, b.Apply(nn.Add{}, x, y))
		})
	}
	x = d.site(b, "model.norm", -1, d.norm, x)
	d.head.finish(b, x)
}

// site is a norm of the residual stream.
func (d *decoder) site(b *nn.Builder, name string, layer int, w []float32, x nn.Ref) nn.Ref {
	return b.Site(nn.KindNorm, name, layer, &nn.RMSNorm{W: w, D: d.c.Hidden, Eps: d.eps, AddOne: d.addOne}, x)
}

// attend is the attention sublayer a of layer i, which has the weights of the layer from, on h, the norm of x.
func (d *decoder) attend(b *nn.Builder, l *decoderLayer, a string, i, from int, x, h nn.Ref) nn.Ref {
	c := d.c
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	var in [3]nn.Ref
	if l.fused {
		f := l.qkv.site(b, a+".qkv_proj", i, h)
		for k, cut := range [...]nn.Columns{{From: 0, To: q}, {From: q, To: q + kv}, {From: q + kv, To: q + 2*kv}} {
			in[k] = b.Apply(&cut, f)
		}
	} else {
		in = [3]nn.Ref{l.q.site(b, a+".q_proj", i, h), l.k.site(b, a+".k_proj", i, h), l.v.site(b, a+".v_proj", i, h)}
	}
	if l.qNorm != nil {
		for k, w := range [...][]float32{l.qNorm, l.kNorm} {
			name := a + [...]string{".q_norm", ".k_norm"}[k]
			in[k] = b.Site(nn.KindNorm, name, i, &nn.HeadNorm{Norm: nn.RMSNorm{W: w, D: c.HeadDim, Eps: d.eps, AddOne: d.addOne}}, in[k])
		}
	}
	in[0], in[1] = d.ropes[from].apply(b, c.Heads, c.HeadDim, in[0]), d.ropes[from].apply(b, c.KVHeads, c.HeadDim, in[1])
	o := b.Site(nn.KindAttention, a, i, &nn.Attention{Attn: kernels.Attn{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		Scale: d.scale, Window: d.windows[from], SoftCap: d.cap}}, in[:]...)
	return b.Site(nn.KindSublayer, a, i, nil, l.o.site(b, a+".o_proj", i, o), x)
}

// mlp is the MLP m of layer i on h, the norm of x.
func (d *decoder) mlp(b *nn.Builder, l *decoderLayer, m string, i int, x, h nn.Ref) nn.Ref {
	n := d.c.Intermediate
	var gate, up nn.Ref
	if l.fused {
		f := l.gateUp.site(b, m+".gate_up_proj", i, h)
		gate, up = b.Apply(&nn.Columns{From: 0, To: n}, f), b.Apply(&nn.Columns{From: n, To: 2 * n}, f)
	} else {
		gate, up = l.gate.site(b, m+".gate_proj", i, h), l.up.site(b, m+".up_proj", i, h)
	}
	y := b.Apply(&nn.GatedAct{Act: d.act}, gate, up)
	return b.Site(nn.KindSublayer, m, i, nil, l.down.site(b, m+".down_proj", i, y), x)
}
