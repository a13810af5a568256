package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// CPTConfig is HF's CPTConfig.
type CPTConfig struct {
	Common
	PromptFields
	TokenIDs      []int32 `json:"cpt_token_ids"`
	Mask          []int   `json:"cpt_mask"`
	TypeMask      []int   `json:"cpt_tokens_type_mask"`
	WeightedLoss  string  `json:"opt_weighted_loss_type"`
	DecayFactor   Float   `json:"opt_loss_decay_factor"`
	Epsilon       Float   `json:"opt_projection_epsilon"`
	FormatEpsilon Float   `json:"opt_projection_format_epsilon"`
	Tokenizer     *string `json:"tokenizer_name_or_path"`
}

// cpt is context-aware prompt tuning (Blau et al. 2024, arXiv:2410.17222): the virtual tokens are the embeddings of a context, E(c) + δ,
// and δ is trained within a ball about 0: after each step ‖δ_i‖ ≤ ε_i·√(D/2048), with ε of inputs (type mod 4 = 2) or of the format around
// them (1 and 3); labels of the context (a type that 4 divides) do not move, and are predicted in training like those of the text, older
// ones weighing less with opt_weighted_loss_type "decay". HF's folder holds E(c) + δ; training goes on about those.
type cpt struct {
	prompts
	cfg   CPTConfig
	words []float32 // E(c), [nv, D]
	delta *Param
	eps   []float32
}

func newCPT() Method {
	p := &cpt{cfg: CPTConfig{Common: newCommon("CPT"), WeightedLoss: "none", DecayFactor: 1, Epsilon: 0.1, FormatEpsilon: 0.1}}
	p.method = "CPT"
	return p
}

func (p *cpt) Config() any { return &p.cfg }

// Attach implements Method.
func (p *cpt) Attach(sites []nn.Site, env Env) error {
	c := &p.cfg
	if c.TokenIDs == nil {
		c.TokenIDs = []int32{0}
	}
	n := len(c.TokenIDs)
	if c.NumVirtualTokens != 0 && c.NumVirtualTokens != n {
		return fmt.Errorf("peft: CPT: num_virtual_tokens = %d, but cpt_token_ids has %d; leave the field out", c.NumVirtualTokens, n)
	}
	c.NumVirtualTokens = n
	for _, x := range []*[]int{&c.Mask, &c.TypeMask} {
		if *x == nil {
			*x = slices.Repeat([]int{1}, n)
		}
	}
	if len(c.Mask) != n || len(c.TypeMask) != n {
		return fmt.Errorf("peft: CPT: cpt_token_ids, cpt_mask and cpt_tokens_type_mask have %d, %d and %d entries; they must be as many", n,
			len(c.Mask), len(c.TypeMask))
	}
	if c.WeightedLoss != "none" && c.WeightedLoss != "decay" {
		return fmt.Errorf("peft: CPT: opt_weighted_loss_type = %q; it must be \"none\" or \"decay\"", c.WeightedLoss)
	}
	if err := firstError(notNegative("CPT", "opt_loss_decay_factor", float64(c.DecayFactor)),
		notNegative("CPT", "opt_projection_epsilon", float64(c.Epsilon)),
		notNegative("CPT", "opt_projection_format_epsilon", float64(c.FormatEpsilon))); err != nil {
		return err
	}
	if err := p.shape(&c.PromptFields, sites, false); err != nil {
		return err
	}
	if err := p.checkTokens("cpt_token_ids", c.TokenIDs); err != nil {
		return err
	}
	d := p.embed.D
	p.words = make([]float32, n*d)
	p.prompts.words(c.TokenIDs)(p.words)
	p.eps = make([]float32, n)
	for i, t := range c.TypeMask {
		p.eps[i] = 1e-10
		if t > 0 {
			switch t % 4 {
			case 1, 3:
				p.eps[i] = float32(float64(c.FormatEpsilon) * math.Sqrt(float64(d)/2048))
			case 2:
				p.eps[i] = float32(float64(c.Epsilon) * math.Sqrt(float64(d)/2048))
			}
		}
	}
	p.delta = newParam(encoderName("delta_embedding.weight"), "", zeros, n, d)
	p.params = []*Param{p.delta}
	return nil
}

// Prompt implements Prompter: the labels of the context are predicted too.
func (p *cpt) Prompt() nn.Prompt {
	q := nn.Prompt{Rows: p.nv}
	for i, t := range p.cfg.TypeMask {
		if i == 0 || t <= 0 || t%4 != 0 {
			continue
		}
		weight := float32(1)
		if p.cfg.WeightedLoss == "decay" { // the text's labels come last and weigh 1
			seen := map[int]bool{}
			for _, u := range p.cfg.TypeMask {
				if u >= t && u%4 == 0 && !seen[u] {
					seen[u] = true
					weight *= float32(p.cfg.DecayFactor)
				}
			}
		}
		q.Labels = append(q.Labels, nn.PromptLabel{Row: i, Token: p.cfg.TokenIDs[i], Weight: weight})
	}
	return q
}

// Adapt implements nn.Adapter.
func (p *cpt) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	if !p.at(s) {
		return s.Out
	}
	return p.insert(b, s, b.Apply(&cptOp{p: p, rows: p.nv * b.Slots()}, p.delta.param(b)))
}

// project holds the rows of δ [nv, D] within their balls.
func (p *cpt) project(delta []float32) {
	d := p.embed.D
	for i, eps := range p.eps {
		row := delta[i*d : (i+1)*d]
		sum := 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		if norm := float32(math.Sqrt(sum)); norm > eps {
			kernels.Scale(nil, eps/norm, row)
		}
	}
}

// prompt is E(c) + δ of one slot.
func (p *cpt) prompt(dst, delta []float32) {
	copy(dst, delta)
	p.project(dst)
	kernels.AddTo(nil, dst, p.words)
}

// Encode implements Encoder.
func (p *cpt) Encode(value func(string) []float32) []Frozen {
	x := make([]float32, len(p.words))
	p.prompt(x, value(p.delta.Name))
	return []Frozen{{Key: "prompt_embeddings", Shape: []int{p.nv, p.embed.D}, Values: func() []float32 { return x }}}
}

// Reopen implements Encoder.
func (p *cpt) Reopen(read func(string, ...int) ([]float32, error)) (err error) {
	p.words, err = read("prompt_embeddings", p.nv, p.embed.D)
	return err
}

// Step implements Stepper: δ goes back into its ball.
func (p *cpt) Step(params *nn.Params, slot, _, _ int) error {
	p.project(params.Get(p.delta.Name).Slot(slot))
	return nil
}

// State implements Stepper.
func (p *cpt) State() ([]byte, error) { return nil, nil }

// SetState implements Stepper.
func (p *cpt) SetState([]byte) error { return nil }

// cptOp is E(c) + δ, [slots·nv, D]; the gradient reaches the tokens that may move, past the projection as in HF.
type cptOp struct {
	p    *cpt
	rows int
}

// Plan implements nn.Op.
func (o *cptOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: nn.Shape{Count: o.rows, Cols: o.p.embed.D}, Wide: true}
}

// Forward implements nn.Op.
func (o *cptOp) Forward(w *nn.Work) {
	n := len(o.p.words)
	for s := range len(w.Out) / n {
		o.p.prompt(nn.Bank(w.Out, s, n), nn.Bank(w.In[0], s, n))
	}
}

// Backward implements nn.Op.
func (o *cptOp) Backward(w *nn.Work) {
	d := o.p.embed.D
	for r := range o.rows {
		if t := o.p.cfg.TypeMask[r%o.p.nv]; t%4 != 0 {
			kernels.AddTo(nil, w.DIn[0][r*d:(r+1)*d], w.DOut[r*d:(r+1)*d])
		}
	}
}
