package train

import (
	"fmt"
	"math"
	"regexp"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// rule is a row of the table of optimisers: how one parameter's values move. state has one slice a name in states, of the
// parameter's size, zero at first. step counts from 1. All arithmetic on values is float32, as torch's.
type rule struct {
	name   string
	states []string
	update func(a *Args, step int, lr, decay float64, p, g []float32, state [][]float32)
}

var optimizers = []rule{
	{"adamw_torch", []string{"exp_avg", "exp_avg_sq"}, adamW},
	{"sgd", nil, sgd},
}

// Optimizers are the names that optim may have.
func Optimizers() []string {
	var names []string
	for _, o := range optimizers {
		names = append(names, o.name)
	}
	return names
}

func optimizerByName(name string) *rule {
	for i := range optimizers {
		if optimizers[i].name == name {
			return &optimizers[i]
		}
	}
	return nil
}

// adamW is AdamW (Loshchilov and Hutter 2019) with the operations of torch.optim.AdamW in their order.
func adamW(a *Args, step int, lr, decay float64, p, g []float32, state [][]float32) {
	b1, b2 := a.AdamBeta1, a.AdamBeta2
	c1, c2 := 1-math.Pow(b1, float64(step)), math.Sqrt(1-math.Pow(b2, float64(step)))
	size, root, eps := float32(-lr/c1), float32(c2), float32(a.AdamEpsilon)
	keep, w1, w2, k2 := float32(1-lr*decay), float32(1-b1), float32(1-b2), float32(b2)
	m, v := state[0], state[1]
	for i, gi := range g {
		x := p[i] * keep
		m[i] += float32(w1 * (gi - m[i]))
		v[i] = float32(v[i]*k2) + float32(float32(w2*gi)*gi)
		d := float32(float32(math.Sqrt(float64(v[i])))/root) + eps
		p[i] = x + float32(float32(size*m[i])/d)
	}
}

// sgd is plain stochastic gradient descent with weight decay added to the gradient, as torch.optim.SGD.
func sgd(a *Args, _ int, lr, decay float64, p, g []float32, _ [][]float32) {
	l, d := float32(lr), float32(decay)
	for i, gi := range g {
		p[i] -= float32(l * (gi + float32(d*p[i])))
	}
}

// noDecay is what Hugging Face Trainer exempts from weight decay: biases and the weights of norms.
var noDecay = regexp.MustCompile(`(?i)bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)|(?:^|\.)ln_(?:1|2|f)(?:$|\.)`)

// Decays says whether weight decay applies to the parameter of that name.
func Decays(name string) bool { return !noDecay.MatchString(name) }

// Optimizer holds the state of the optimiser for a set of parameters, outside the Go heap.
type Optimizer struct {
	args   *Args
	rule   *rule
	params *nn.Params
	state  [][][]float32 // [parameter][state]
	blocks []*mem.Block
	Step   int // optimiser steps done
}

// NewOptimizer makes the optimiser that args name.
func NewOptimizer(args *Args, params *nn.Params) *Optimizer {
	o := &Optimizer{args: args, rule: optimizerByName(args.Optim), params: params}
	for _, q := range params.List() {
		var s [][]float32
		for range o.rule.states {
			b := mem.AllocFloat32(len(q.Data))
			o.blocks = append(o.blocks, b)
			s = append(s, b.Float32())
		}
		o.state = append(o.state, s)
	}
	return o
}

// Apply moves the parameters by their gradients at the learning rate lr.
func (o *Optimizer) Apply(p *pool.Pool, lr float64) {
	o.Step++
	list := o.params.List()
	p.Run(len(list), func(i int) {
		q := list[i]
		decay := o.args.WeightDecay
		if !o.args.DecayAll && !Decays(q.Name) {
			decay = 0
		}
		o.rule.update(o.args, o.Step, lr, decay, q.Data, q.Grad, o.state[i])
	})
}

// Bytes is the memory of the state.
func (o *Optimizer) Bytes() int64 {
	n := int64(0)
	for _, b := range o.blocks {
		n += int64(len(b.Bytes()))
	}
	return n
}

// Each calls f for each array of the state, named PARAMETER/STATE, in a fixed order.
func (o *Optimizer) Each(f func(name string, x []float32)) {
	for i, q := range o.params.List() {
		for k, s := range o.rule.states {
			f(q.Name+"/"+s, o.state[i][k])
		}
	}
}

// Close frees the state.
func (o *Optimizer) Close() {
	for _, b := range o.blocks {
		b.Free()
	}
	o.state, o.blocks = nil, nil
}

// ClipGradNorm scales all gradients so that their joint 2-norm is at most limit, as torch's clip_grad_norm_ does, and returns
// the norm before. A limit of 0 only measures. The sum runs in a fixed order.
func ClipGradNorm(params *nn.Params, limit float64) (float64, error) {
	total := 0.0
	for _, q := range params.List() {
		total += kernels.SumSquares(q.Grad)
	}
	norm := math.Sqrt(total)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		for _, q := range params.List() {
			if s := kernels.SumSquares(q.Grad); math.IsNaN(s) || math.IsInf(s, 0) {
				return norm, fmt.Errorf("the gradient of %s is not finite", q.Name)
			}
		}
		return norm, fmt.Errorf("the gradient norm is %g", norm)
	}
	if c := float32(limit / (norm + 1e-6)); limit > 0 && c < 1 {
		for _, q := range params.List() {
			kernels.Scale(nil, c, q.Grad)
		}
	}
	return norm, nil
}
