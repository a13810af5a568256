package peft

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// place makes the parameters and the op of one bottleneck.
func (m *bottleneck) place(p *bnPlace, layer, hidden int, seed uint64, shared bnShared) error {
	c := &m.cfg
	factor, err := c.ReductionFactor.of(layer)
	if err != nil {
		return err
	}
	r := max(int(math.Floor(float64(hidden)/factor)), 1)
	if c.PHMLayer && (hidden%c.PHMDim != 0 || r%c.PHMDim != 0) {
		return fmt.Errorf("peft: BOTTLENECK: phm_dim %d must divide the hidden size %d and the bottleneck's width %d (by "+
			"reduction_factor %g)", c.PHMDim, hidden, r, factor)
	}
	module := p.name + ".adapters." + c.Name + "."
	p.op = bottleneckOp{act: bnActs[strings.ToLower(c.NonLinearity)], scale: float32(c.Scaling.Value), scaleAt: -1}
	p.op.down = m.linear(p, module, "adapter_down.0.", hidden, r, seed, shared)
	p.op.up = m.linear(p, module, "adapter_up.", r, hidden, seed, shared)
	if c.Scaling.Name != "" {
		n := 1
		if c.Scaling.Name == "channel" {
			n = hidden
		}
		p.op.scale, p.op.scaleAt = 1, len(p.params)
		p.params = append(p.params, newParam(module+"scaling", module+"scaling", ones, n))
	}
	return nil
}

// bnShared are the parameters that all PHM layers share, by their names.
type bnShared map[string]*Param

// linear makes the parameters of a projection of width in to out.
func (m *bottleneck) linear(p *bnPlace, module, part string, in, out int, seed uint64, shared bnShared) bnLinear {
	c := &m.cfg
	if c.InitWeightsSeed != nil { // every module starts alike
		seed = *c.InitWeightsSeed
	}
	add := func(name string, init func(name string) func([]float32), shape ...int) int {
		start := module + part + name
		if c.InitWeightsSeed != nil {
			start = part + name
		}
		p.params = append(p.params, newParam(module+part+name, module+part+name, init(start), shape...))
		return len(p.params) - 1
	}
	zero := func(string) func([]float32) { return zeros }
	gauss := func(std float64) func(string) func([]float32) {
		return func(name string) func([]float32) { return normal(seed, name, std) }
	}
	l := bnLinear{in: in, out: out, bias: -1}
	if !c.PHMLayer {
		init := gauss(0.02)
		switch {
		case c.InitWeights == "mam_adapter" && part == "adapter_up.":
			init = zero
		case c.InitWeights == "mam_adapter":
			init = func(name string) func([]float32) { return uniform(seed, name, in) }
		case c.InitWeights == "houlsby":
			init = func(name string) func([]float32) { return truncatedNormal(seed, name, 0.01) }
		}
		l.weight, l.bias = add("weight", init, out, in), add("bias", zero, out)
		return l
	}
	n, a, b := c.PHMDim, in/c.PHMDim, out/c.PHMDim
	l.phm = &phm{n: n, a: a, b: b, rank: c.PHMRank}
	std := func(rows, cols int) float64 { // Xavier's, whatever hypercomplex_nonlinearity names, as in the reference
		return math.Sqrt(2 / float64(rows+cols))
	}
	if c.FactorizedPHMW {
		l.phm.w = []int{add("W_left", gauss(std(a, c.PHMRank)), n, a, c.PHMRank), add("W_right", gauss(std(c.PHMRank, b)), n, c.PHMRank, b)}
	} else {
		l.phm.w = []int{add("W", gauss(std(a, b)), n, a, b)}
	}
	if c.PHMBias {
		l.bias = add("b", zero, out)
	}
	names, shapes := []string{"phm_rule"}, [][]int{{n, n, n}}
	if c.FactorizedPHMRule {
		names, shapes = []string{"phm_rule_left", "phm_rule_right"}, [][]int{{n, n, 1}, {n, 1, n}}
	}
	spread, bound := 0.01, 0.01
	if c.SharedPHMRule {
		spread, bound = float64(c.PHMInitRange), 1
	}
	rule := func(name string) func([]float32) {
		if c.PHMCInit == "uniform" {
			return uniformWithin(seed, name, bound)
		}
		return normal(seed, name, spread)
	}
	for i, name := range names {
		if !c.SharedPHMRule {
			l.phm.rule = append(l.phm.rule, add(name, rule, shapes[i]...))
			continue
		}
		key := strings.SplitN(module, ".", 2)[0] + ".shared_parameters." + c.Name + "." + name
		if shared[key] == nil {
			shared[key] = newParam(key, key, rule(key), shapes[i]...)
		}
		at := slices.Index(p.params, shared[key])
		if at < 0 {
			at = len(p.params)
			p.params = append(p.params, shared[key])
		}
		l.phm.rule = append(l.phm.rule, at)
	}
	return l
}

// truncatedNormal starts a parameter with normal numbers within two deviations.
func truncatedNormal(seed uint64, name string, std float64) func([]float32) {
	return func(d []float32) {
		edge := math.Erf(math.Sqrt2)
		philox.NewKey(seed, "init", name).FillUniform(d, -edge, edge)
		for i, v := range d {
			d[i] = float32(max(-2*std, min(2*std, std*math.Sqrt2*math.Erfinv(float64(v)))))
		}
	}
}
