package train

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// rule is a row of the table of optimisers: what it keeps for a parameter, and how one parameter's values move. The arithmetic is float32,
// with the operations of the reference in their order.
type rule struct {
	name string // Hugging Face Trainer's, where it has the optimiser
	// options are the keys of optim_args that it reads, with their defaults.
	options options
	// states lists what is kept for a matrix [rows, cols]; rows is 1 for a vector. Everything is zero at first.
	states func(o options, name string, rows, cols int) []state
	update func(u *update)
	// pair, of an optimiser that trains one factor of each low-rank pair and freezes the other, moves B; update moves what is in no pair.
	pair func(u *update)
}

// state is an array that an optimiser keeps for a parameter. Codes of 8 bits lie four to a value.
type state struct {
	name string
	size int
}

// update is one step of one parameter.
type update struct {
	*Args
	o          options
	step       int // from 1
	lr, decay  float64
	name       string
	rows, cols int
	p, g       []float32
	state      [][]float32 // as states lists them
	factor     *peft.Factor
	other      []float32 // the frozen factor A of a pair
}

// optimizers is the table of optimisers. A new one is a file and a row here; the table drives its tests.
var optimizers = []rule{
	{"adamw_torch", options{"amsgrad": 0}, adamStates, adamW, nil},
	{"adam", options{"amsgrad": 0}, adamStates, adam, nil},
	{"adamw_8bit", options{"min_8bit_size": 4096}, blockStates("state1", "state2"), adamW8, nil},
	{"sgd", options{"momentum": 0, "dampening": 0, "nesterov": 0}, sgdStates, sgd, nil},
	{"sgd_8bit", options{"momentum": 0.9, "min_8bit_size": 4096}, blockStates("state1"), sgd8, nil},
	{"lion_32bit", nil, one("state1"), lion, nil},
	{"lion_8bit", options{"min_8bit_size": 4096}, blockStates("state1"), lion8, nil},
	{"adafactor", options{"scale_parameter": 0, "relative_step": 0, "warmup_init": 0, "beta1": 0, "clip_threshold": 1, "decay_rate": -0.8,
		"eps1": 1e-30, "eps2": 1e-3},
		adafactorStates, adafactor, nil},
	{"rmsprop", options{"alpha": 0.99, "momentum": 0, "centered": 0, "eps": 1e-8}, rmspropStates, rmsprop, nil},
	{"muon", options{"momentum": 0.95, "ns_steps": 5, "adamw_lr_ratio": 1}, muonStates, muon, nil},
	{"adagrad", options{"lr_decay": 0, "eps": 1e-10}, one("sum"), adagrad, nil},
	{"lorafa", options{"eps": 1e-6, "correct_bias": 1}, loraFAStates, adamHF, loraFA},
}

// one is a single array of the parameter's size.
func one(name string) func(options, string, int, int) []state {
	return func(_ options, _ string, rows, cols int) []state { return []state{{name, rows * cols}} }
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

// noDecay is what Hugging Face Trainer exempts from weight decay: biases and the weights of norms.
var noDecay = regexp.MustCompile(`(?i)bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)|(?:^|\.)ln_(?:1|2|f)(?:$|\.)`)

// Decays says whether weight decay applies to the parameter of that name.
func Decays(name string) bool { return !noDecay.MatchString(name) }

// Optimizer holds the state of the optimiser for a set of parameters, outside the Go heap.
type Optimizer struct {
	args   *Args
	rule   *rule
	opts   options
	params *nn.Params
	pairs  map[string]*peft.Factor // by B's name
	names  [][]string              // [parameter·slot][state]
	state  [][][]float32           // [parameter·slot][state]
	blocks []*mem.Block
	owned  map[string]bool // the parameters that it moves; nil for all
	decay  []float64       // [parameter] weight decay: its name is looked at once, not in every step of every slot
	ratio  []float64       // [parameter] its learning rate over that of a step
	Step   int             // optimiser steps done
}

// Freeze prepares params, before programs are compiled with them, for the optimiser of args: where it trains one factor of each low-rank
// pair it freezes the other. It returns the pairs, for NewOptimizer.
func Freeze(args *Args, adapters []nn.Adapter, params *nn.Params) ([]peft.Factor, error) {
	if optimizerByName(args.Optim).pair == nil {
		return nil, nil
	}
	var out []peft.Factor
	for _, a := range adapters {
		adapter, ok := a.(*peft.Adapter)
		if !ok {
			continue
		}
		f, ok := adapter.Method.(peft.Factored)
		if !ok {
			return nil, fmt.Errorf("train: optim %s projects the gradients of LoRA's factors; %s has none: use another optim",
				args.Optim, adapter.Type())
		}
		fs, err := f.Factors()
		if err != nil {
			return nil, fmt.Errorf("train: optim %s: %w", args.Optim, err)
		}
		for _, x := range fs {
			params.Freeze(x.A)
		}
		out = append(out, fs...)
	}
	return out, nil
}

// NewOptimizer makes the optimiser that args name. The settings have passed Args.Validate; pairs are what Freeze returned.
func NewOptimizer(args *Args, params *nn.Params, pairs []peft.Factor) *Optimizer {
	return newOptimizer(args, params, pairs, nil)
}

// newOptimizer is NewOptimizer that moves the parameters of owned alone, and keeps a state of those alone; of all where it is nil.
func newOptimizer(args *Args, params *nn.Params, pairs []peft.Factor, owned map[string]bool) *Optimizer {
	o := &Optimizer{args: args, rule: optimizerByName(args.Optim), params: params, pairs: map[string]*peft.Factor{}, owned: owned}
	for i := range pairs {
		o.pairs[pairs[i].B] = &pairs[i]
	}
	o.opts, _ = o.rule.options.with("optim_args", args.Optim, args.OptimArgs)
	for _, q := range params.List() {
		decay, ratio := args.WeightDecay, 1.0
		if !args.DecayAll && !Decays(q.Name) {
			decay = 0
		}
		if args.LoraPlusLRRatio > 0 && loraPlusB(q) {
			ratio = args.LoraPlusLRRatio
		}
		o.decay, o.ratio = append(o.decay, decay), append(o.ratio, ratio)
		for range q.Slots {
			var s [][]float32
			var names []string
			for _, k := range o.rule.list(o.opts, q) {
				if !o.moves(q) {
					break
				}
				b := mem.AllocFloat32(k.size)
				o.blocks = append(o.blocks, b)
				s, names = append(s, b.Float32()), append(names, k.name)
			}
			o.state, o.names = append(o.state, s), append(o.names, names)
		}
	}
	return o
}

// OptimizerBytes is the memory that the optimiser of args would keep for params.
func OptimizerBytes(args *Args, params *nn.Params) int64 {
	r := optimizerByName(args.Optim)
	o, _ := r.options.with("optim_args", args.Optim, args.OptimArgs)
	n := int64(0)
	for _, q := range params.List() {
		for _, s := range r.list(o, q) {
			n += 4 * int64(s.size) * int64(q.Slots)
		}
	}
	return n
}

func (r *rule) list(o options, q *nn.Param) []state {
	if r.states == nil || q.Frozen {
		return nil
	}
	return r.states(o, q.Name, q.Rows, q.Cols)
}

func (o *Optimizer) moves(q *nn.Param) bool { return o.owned == nil || o.owned[q.Name] }

// Apply moves the parameters by their gradients at the learning rate lr.
func (o *Optimizer) Apply(p *pool.Pool, lr float64) {
	o.apply(p, func(int) float64 { return lr })
}

// applySlots is Apply with a learning rate a slot. A slot whose rate is NaN stays as it is.
func (o *Optimizer) applySlots(p *pool.Pool, lr []float64) {
	o.apply(p, func(slot int) float64 { return lr[slot] })
}

func (o *Optimizer) apply(p *pool.Pool, lr func(slot int) float64) {
	o.Step++
	list := o.params.List()
	slots := o.params.Slots()
	p.Run(len(list)*slots, func(i int) {
		q, rate := list[i/slots], lr(i%slots)
		if q.Frozen || math.IsNaN(rate) || !o.moves(q) {
			return
		}
		u := &update{Args: o.args, o: o.opts, step: o.Step, lr: rate * o.ratio[i/slots], decay: o.decay[i/slots], name: q.Name,
			rows: q.Rows, cols: q.Cols, p: q.Slot(i % slots), g: q.GradSlot(i % slots),
			state: o.state[i]}
		if u.factor = o.pairs[q.Name]; u.factor == nil {
			o.rule.update(u)
			return
		}
		u.other = o.params.Get(u.factor.A).Slot(i % slots)
		o.rule.pair(u)
	})
}

// loraPlusB says whether LoRA+ (Hayou et al. 2024, arXiv:2402.12354) trains a parameter at the higher rate: PEFT's
// create_loraplus_optimizer takes every lora_B and every vector.
func loraPlusB(q *nn.Param) bool {
	return strings.Contains(q.Name, "lora_B") || q.Rows == 1 && noDecay.MatchString(q.Name)
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
	slots := o.params.Slots()
	for i := range o.state {
		name := o.params.List()[i/slots].Name
		if slots > 1 {
			name += fmt.Sprintf("/%d", i%slots)
		}
		for k, s := range o.names[i] {
			f(name+"/"+s, o.state[i][k])
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
	return clip(params, limit, func(q *nn.Param) []float32 { return q.Grad })
}

// clipScale is what gradients of a norm are scaled by, and whether they are.
func clipScale(limit, norm float64) (float32, bool) {
	c := float32(limit / (norm + 1e-6))
	return c, limit > 0 && c < 1
}

func clip(params *nn.Params, limit float64, grad func(*nn.Param) []float32) (float64, error) {
	total := 0.0
	for _, q := range params.List() {
		total += kernels.SumSquares(grad(q))
	}
	norm := math.Sqrt(total)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		for _, q := range params.List() {
			if s := kernels.SumSquares(grad(q)); math.IsNaN(s) || math.IsInf(s, 0) {
				return norm, fmt.Errorf("the gradient of %s is not finite", q.Name)
			}
		}
		return norm, fmt.Errorf("the gradient norm is %g", norm)
	}
	if c, clips := clipScale(limit, norm); clips {
		for _, q := range params.List() {
			kernels.Scale(nil, c, grad(q))
		}
	}
	return norm, nil
}
