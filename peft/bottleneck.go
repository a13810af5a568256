package peft

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// bottleneck are the bottleneck adapters of AdapterHub's library `adapters` 1.3, f(u) = scaling·(W_up·act(W_down·u + b_down) + b_up), after the
// attention of each block (mh_adapter), after its MLP (output_adapter) or both. With h the sublayer's output and x the residual stream
// that it is added to: double_seq_bn (Houlsby et al. 2019, arXiv:1902.00751) gives x + h + f(h) after both, seq_bn (Pfeiffer et al. 2020,
// arXiv:2005.00247) x + h + f(x + h) after the MLP, par_bn (He et al. 2021, arXiv:2110.04366) x + h + 4·f(x). Compacter (Mahabadi et al. 2021,
// arXiv:2106.04647) is double_seq_bn with W = Σ_i A_i ⊗ (s_i·t_iᵀ), the A_i shared by all. original_ln_before and original_ln_after apply norms
// only in post-norm models, which the families here are not. The adapters cannot be merged.
//
// Several of them in a [Set] that are selected together are AdapterHub's Stack, in the order in which they were added: each reads what the one before it gave.
// Parallel ones add up there; in AdapterHub's Stack the last replaces those before it.
//
// AdapterFusion (Pfeiffer et al. 2020) is not here. It trains attention over the outputs of frozen adapters that lie in folders of their own, and its folder
// (adapter_fusion_config.json, model_adapter_fusion.safetensors) holds the attention alone. A method knows its own configuration and the base's sites, and one
// folder is one method: it would need other adapters in [Env], their outputs before the residual, and a folder of several in Save and Open.
type bottleneck struct {
	cfg    BottleneckConfig
	at     map[string]*bnPlace // by the name of the sublayer
	names  []string
	params []*Param
}

// bnPlace is one bottleneck.
type bnPlace struct {
	name     string // of the module
	op       bottleneckOp
	params   []*Param
	parallel bool
	before   bool // reads h + x
	dropout  Float
	twice    bool // adds x once more: original_ln_before and original_ln_after without residual_before_ln
}

func newBottleneck() Method {
	m := &bottleneck{cfg: BottleneckConfig{Common: newCommon("BOTTLENECK"), Name: "default"}}
	m.preset("seq_bn")
	return m
}

func (m *bottleneck) Type() string      { return "BOTTLENECK" }
func (m *bottleneck) Config() any       { return &m.cfg }
func (m *bottleneck) common() *Common   { return &m.cfg.Common }
func (m *bottleneck) Params() []*Param  { return m.params }
func (m *bottleneck) Frozen() []Frozen  { return nil }
func (m *bottleneck) Targets() []string { return slices.Clone(m.names) }

// Segmentable is false where rows of the base alone would change.
func (m *bottleneck) Segmentable() bool {
	for _, p := range m.at {
		if p.twice {
			return false
		}
	}
	return true
}

// preset sets the fields to those of a named configuration.
func (m *bottleneck) preset(name string) bool {
	if n, ok := bnOldNames[name]; ok {
		name = n
	}
	set, ok := bnPresets[name]
	if ok {
		m.cfg.BnFields = BnFields{OriginalLNAfter: true, InitWeights: "bert", Scaling: BnScaling{Value: 1}, ResidualBeforeLN: InitNamed{On: true}, LeaveOut: []int{},
			PHMDim: 4, FactorizedPHMW: true, SharedPHMRule: true, PHMCInit: "normal", PHMInitRange: 0.0001, LearnPHM: true,
			HypercomplexNonlin: "glorot-uniform", PHMRank: 1, PHMBias: true}
		set(&m.cfg.BnFields)
	}
	return ok
}

// defaults is called with the configuration before it is decoded: `config` names what the fields start from.
func (m *bottleneck) defaults(raw []byte) error {
	var c struct {
		Config *string `json:"config"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("peft: BOTTLENECK: field config must be the name of a configuration: %w", err)
	}
	if c.Config != nil && !m.preset(*c.Config) {
		return fmt.Errorf("peft: BOTTLENECK: config = %q; known: %s", *c.Config, strings.Join(append(sortedKeys(bnPresets), sortedKeys(bnOldNames)...), ", "))
	}
	return nil
}

// bnActs are the activations, by their names in transformers.
var bnActs = map[string]kernels.Act{"relu": kernels.ReLU, "gelu": kernels.GELU, "gelu_new": kernels.GELUTanh, "gelu_pytorch_tanh": kernels.GELUTanh,
	"swish": kernels.SiLU, "silu": kernels.SiLU, "relu2": kernels.ReLUSquared, "quick_gelu": kernels.QuickGELU, "tanh": kernels.Tanh, "sigmoid": kernels.Sigmoid}

// check refuses what the method does not have, and what makes no sense.
func (m *bottleneck) check() error {
	c := &m.cfg
	for _, f := range []struct {
		on   bool
		text string
	}{
		{c.Name == "" || strings.Contains(c.Name, "."), "name must be a word without dots; it is a part of the tensors' names"},
		{!c.MHAdapter && !c.OutputAdapter, "mh_adapter and output_adapter are both false, so there is no adapter; set one of them"},
		{c.LNBefore || c.LNAfter, "ln_before and ln_after (norms inside the adapter) are not supported; set them to false"},
		{c.UseGating, "use_gating is not supported: its gate is a mean over the padding too; set it to false"},
		{c.InvAdapter != nil, "inv_adapter (invertible adapters at the embedding) is not supported; set it to null"},
		{c.StochasticDepth != 0, "stochastic_depth is not supported; set it to 0, and dropout if you want regularisation"},
		{c.ResidualBeforeLN.Name != "", "residual_before_ln must be true or false; \"post_add\" needs a norm after the sublayer, which pre-norm models lack"},
		{!c.IsParallel && !c.OriginalLNAfter && (c.ResidualBeforeLN.On || !c.OriginalLNBefore) || c.IsParallel && !c.OriginalLNAfter,
			"original_ln_after is false, which would drop the residual stream; it may be false only with original_ln_before true and residual_before_ln false"},
		{c.Scaling.Name != "" && c.Scaling.Name != "learned" && c.Scaling.Name != "channel", "scaling must be a number, \"learned\" or \"channel\""},
		{!slices.Contains([]string{"bert", "mam_adapter", "houlsby"}, c.InitWeights), "init_weights must be \"bert\", \"mam_adapter\" or \"houlsby\""},
		{c.PHMLayer && c.InitWeights != "bert", "init_weights must be \"bert\" with phm_layer, whose layers start by hypercomplex_nonlinearity"},
		{c.PHMLayer && c.SharedWPHM, "shared_W_phm is not supported; set it to false"},
		{c.PHMLayer && !c.LearnPHM, "learn_phm is false, but the reference trains the rule all the same (train_adapter); set it to true"},
		{c.PHMLayer && (c.PHMDim < 1 || c.PHMRank < 1), "phm_dim and phm_rank must be at least 1"},
		{c.PHMLayer && c.PHMCInit != "normal" && c.PHMCInit != "uniform", "phm_c_init must be \"normal\" or \"uniform\""},
		{c.PHMLayer && !slices.Contains([]string{"phm", "glorot-normal", "glorot-uniform", "normal"}, c.HypercomplexNonlin),
			"hypercomplex_nonlinearity must be \"phm\", \"glorot-normal\", \"glorot-uniform\" or \"normal\""},
	} {
		if f.on {
			return fmt.Errorf("peft: BOTTLENECK: %s", f.text)
		}
	}
	if _, ok := bnActs[strings.ToLower(c.NonLinearity)]; !ok {
		return fmt.Errorf("peft: BOTTLENECK: non_linearity = %q; known: %s", c.NonLinearity, strings.Join(sortedKeys(bnActs), ", "))
	}
	return probability("BOTTLENECK", "dropout", c.Dropout)
}

// Attach implements Method.
func (m *bottleneck) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	m.at, m.names, m.params = map[string]*bnPlace{}, nil, nil
	if err := m.check(); err != nil {
		return err
	}
	if taskOf(sites) == seqCls {
		return fmt.Errorf("peft: BOTTLENECK: the folder of these adapters holds no head, so a classifier's would stay untrained; use a method with modules_to_save")
	}
	blocks, attention, normed, hidden := map[int]string{}, map[string]bool{}, map[nn.Ref]bool{}, 0
	for _, s := range sites {
		switch s.Kind {
		case nn.KindBlock:
			blocks[s.Layer] = s.Name
		case nn.KindAttention:
			attention[s.Name] = true
		case nn.KindNorm:
			normed[s.In[0]] = true
			switch o := s.Op.(type) {
			case *nn.RMSNorm:
				hidden = o.D
			case *nn.LayerNorm:
				hidden = o.D
			}
		}
	}
	if c.HiddenSize != 0 && c.HiddenSize != hidden {
		return fmt.Errorf("peft: BOTTLENECK: the adapter is for hidden_size %d, this base model has %d", c.HiddenSize, hidden)
	}
	c.HiddenSize = hidden
	if c.ModelType == "" {
		c.ModelType, c.ModelClass = env.ModelType, hubClasses[env.ModelType]
	}
	for _, l := range c.LeaveOut {
		if _, ok := blocks[l]; !ok {
			return fmt.Errorf("peft: BOTTLENECK: leave_out has %d, but the model has the blocks 0 to %d", l, len(blocks)-1)
		}
	}
	shared := bnShared{}
	for _, s := range sites {
		part, on := ".output_adapters", c.OutputAdapter
		if attention[s.Name] {
			part, on = ".attention_adapters", c.MHAdapter
		}
		if s.Kind != nn.KindSublayer || !on || slices.Contains(c.LeaveOut, s.Layer) {
			continue
		}
		if c.IsParallel && len(s.In) < 2 {
			return fmt.Errorf("peft: BOTTLENECK: %s runs beside attention, so there is no residual stream of its own to read; is_parallel cannot be true for this family", s.Name)
		}
		if c.OriginalLNBefore && !c.IsParallel && normed[s.Out] {
			return fmt.Errorf("peft: BOTTLENECK: %s is followed by a norm of its own in this family, where original_ln_before is not supported; "+
				"set it to false, or use double_seq_bn or par_bn", s.Name)
		}
		p := &bnPlace{name: blocks[s.Layer] + part, parallel: c.IsParallel, before: c.OriginalLNBefore && !c.IsParallel && len(s.In) > 1, dropout: c.Dropout}
		p.twice = p.before && c.OriginalLNAfter && !c.ResidualBeforeLN.On
		if err := m.place(p, s.Layer, hidden, env.Seed, shared); err != nil {
			return err
		}
		m.at[s.Name] = p
		m.names = append(m.names, s.Name)
		for _, q := range p.params {
			if !slices.Contains(m.params, q) {
				m.params = append(m.params, q)
			}
		}
	}
	return nil
}

// place makes the parameters and the op of one bottleneck.
func (m *bottleneck) place(p *bnPlace, layer, hidden int, seed uint64, shared bnShared) error {
	c := &m.cfg
	factor, err := c.ReductionFactor.of(layer)
	if err != nil {
		return err
	}
	r := max(int(math.Floor(float64(hidden)/factor)), 1)
	if c.PHMLayer && (hidden%c.PHMDim != 0 || r%c.PHMDim != 0) {
		return fmt.Errorf("peft: BOTTLENECK: phm_dim %d must divide the hidden size %d and the bottleneck's width %d (by reduction_factor %g)", c.PHMDim, hidden, r, factor)
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

// Adapt implements nn.Adapter.
func (m *bottleneck) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	p := m.at[s.Name]
	if p == nil || s.Kind != nn.KindSublayer {
		return s.Out
	}
	u := s.Out
	switch {
	case p.parallel:
		u = s.In[1]
	case p.before:
		u = b.Apply(nn.Add{}, s.Out, s.In[1])
	}
	op, in, sizes := p.op, []nn.Ref{u}, []int{}
	for _, q := range p.params {
		in, sizes = append(in, q.param(b)), append(sizes, q.Size())
	}
	op.banks = newBanks(sizes)
	y := b.Apply(nn.Add{}, s.Out, dropped(b, p.name, p.dropout, b.Apply(&op, in...)))
	if p.twice {
		y = b.Apply(nn.Add{}, y, s.In[1])
	}
	return y
}
