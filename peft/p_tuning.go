package peft

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// PTuningConfig is HF's PromptEncoderConfig.
type PTuningConfig struct {
	Common
	PromptFields
	Reparameterization string `json:"encoder_reparameterization_type"`
	HiddenSize         *int   `json:"encoder_hidden_size"`
	NumLayers          int    `json:"encoder_num_layers"`
	Dropout            Float  `json:"encoder_dropout"`
}

// pTuning is P-tuning (Liu et al. 2021, "GPT Understands, Too", arXiv:2103.10385): the virtual tokens before each text are what an encoder
// makes of trained embeddings e, MLP(e) or MLP(LSTM(e)) with a bidirectional LSTM. As in HF's folder the encoder's output is saved, not
// the encoder: an opened adapter has the prompts themselves as its parameter, and training goes on with them.
type pTuning struct {
	prompts
	cfg     PTuningConfig
	vectors *Param
	lstm    [][]*Param // of each layer
	mlp     []dense
	sizes   []int // input size of each LSTM layer
	open    bool
}

func newPTuning() Method {
	p := &pTuning{cfg: PTuningConfig{Common: newCommon("P_TUNING"), Reparameterization: "MLP", NumLayers: 2}}
	p.method = "P_TUNING"
	return p
}

func (p *pTuning) Config() any { return &p.cfg }

// Attach implements Method.
func (p *pTuning) Attach(sites []nn.Site, env Env) error {
	c := &p.cfg
	if err := p.shape(&c.PromptFields, sites, false); err != nil {
		return err
	}
	d := p.embed.D
	if c.HiddenSize == nil {
		c.HiddenSize = &d
	}
	if err := firstError(atLeast(p.method, "encoder_hidden_size", *c.HiddenSize, 1),
		atLeast(p.method, "encoder_num_layers", c.NumLayers, 1),
		probability(p.method, "encoder_dropout", c.Dropout)); err != nil {
		return err
	}
	h := *c.HiddenSize
	name := encoderName("embedding.weight")
	p.vectors, p.lstm, p.sizes = newParam(name, "", normal(env.Seed, name, 1), p.nv, d), nil, nil
	p.params = []*Param{p.vectors}
	switch strings.ToUpper(c.Reparameterization) {
	case "MLP":
		p.mlp = []dense{newDense(env, "mlp_head.0", d, h, "relu"), newDense(env, "mlp_head.2", h, h, "relu"),
			newDense(env, "mlp_head.4", h, d, "")}
	case "LSTM":
		in := d
		for l := range c.NumLayers {
			var layer []*Param
			for _, dir := range []string{"", "_reverse"} {
				for _, t := range []struct {
					name  string
					shape []int
				}{{"weight_ih", []int{4 * h, in}}, {"weight_hh", []int{4 * h, h}}, {"bias_ih", []int{4 * h}}, {"bias_hh", []int{4 * h}}} {
					n := encoderName(fmt.Sprintf("lstm_head.%s_l%d%s", t.name, l, dir))
					layer = append(layer, newParam(n, "", uniform(env.Seed, n, h), t.shape...))
				}
			}
			p.lstm, p.sizes = append(p.lstm, layer), append(p.sizes, in)
			p.params = append(p.params, layer...)
			in = 2 * h
		}
		p.mlp = []dense{newDense(env, "mlp_head.0", 2*h, 2*h, "relu"), newDense(env, "mlp_head.2", 2*h, d, "")}
	default:
		return fmt.Errorf("peft: P_TUNING: encoder_reparameterization_type = %q; known: MLP, LSTM", c.Reparameterization)
	}
	for _, l := range p.mlp {
		p.params = append(p.params, l.w, l.b)
	}
	return nil
}

// Adapt implements nn.Adapter.
func (p *pTuning) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	if !p.at(s) {
		return s.Out
	}
	x := p.vectors.param(b)
	if p.open {
		return p.insert(b, s, x)
	}
	for i, layer := range p.lstm {
		in := []nn.Ref{x}
		if i == 0 {
			in[0] = b.Apply(&bankOp{p.nv * b.Slots(), p.sizes[0]}, x)
		}
		for _, q := range layer {
			in = append(in, q.param(b))
		}
		x = b.Apply(&lstmOp{in: p.sizes[i], h: *p.cfg.HiddenSize, n: p.nv}, in...)
		if p.cfg.Dropout > 0 && i+1 < len(p.lstm) {
			x = b.Apply(&encoderDropout{float32(p.cfg.Dropout), encoderName(fmt.Sprintf("lstm_head.%d", i))}, x)
		}
	}
	if p.lstm == nil {
		x = b.Apply(&bankOp{p.nv * b.Slots(), p.embed.D}, x)
	}
	for _, l := range p.mlp {
		x = l.wire(b, p.nv, x)
	}
	return p.insert(b, s, x)
}

// Encode implements Encoder.
func (p *pTuning) Encode(value func(string) []float32) []Frozen {
	if p.open {
		return nil
	}
	x := value(p.vectors.Name)
	for i, layer := range p.lstm {
		h := *p.cfg.HiddenSize
		w := &nn.Work{In: [][]float32{x}, Out: make([]float32, p.nv*2*h),
			Saved: [][]float32{make([]float32, p.nv*8*h), make([]float32, p.nv*2*h)}}
		for _, q := range layer {
			w.In = append(w.In, value(q.Name))
		}
		(&lstmOp{in: p.sizes[i], h: h, n: p.nv}).Forward(w)
		x = w.Out
	}
	for _, l := range p.mlp {
		x = l.values(value, x)
	}
	return []Frozen{{Key: "prompt_embeddings", Shape: p.vectors.Shape, Values: func() []float32 { return x }}}
}

// Reopen implements Encoder.
func (p *pTuning) Reopen(func(string, ...int) ([]float32, error)) error {
	p.open, p.vectors.Key, p.params = true, "prompt_embeddings", []*Param{p.vectors}
	return nil
}

// bankOp is a parameter's bank [slots, n, D] as a value [slots·n, D].
type bankOp struct{ rows, d int }

// Plan implements nn.Op.
func (o *bankOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: nn.Shape{Count: o.rows, Cols: o.d}, Wide: true}
}

// Forward implements nn.Op.
func (o *bankOp) Forward(w *nn.Work) { copy(w.Out, w.In[0]) }

// Backward implements nn.Op.
func (o *bankOp) Backward(w *nn.Work) {
	for i, g := range w.DOut {
		w.DIn[0][i] += g
	}
}
