package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// bottleneck are the bottleneck adapters of AdapterHub's library `adapters` 1.3, f(u) = scaling·(W_up·act(W_down·u + b_down) + b_up), after
// the attention of each block (mh_adapter), after its MLP (output_adapter) or both. With h the sublayer's output and x the residual stream
// that it is added to: double_seq_bn (Houlsby et al. 2019, arXiv:1902.00751) gives x + h + f(h) after both, seq_bn (Pfeiffer et al. 2020,
// arXiv:2005.00247) x + h + f(x + h) after the MLP, par_bn (He et al. 2021, arXiv:2110.04366) x + h + 4·f(x). Compacter (Mahabadi et al.
// 2021, arXiv:2106.04647) is double_seq_bn with W = Σ_i A_i ⊗ (s_i·t_iᵀ), the A_i shared by all. original_ln_before and original_ln_after
// apply norms only in post-norm models, which the families here are not. The adapters cannot be merged.
//
// Several of them in a [Set] that are selected together are AdapterHub's Stack, in the order in which they were added: each reads what the
// one before it gave. Parallel ones add up there; in AdapterHub's Stack the last replaces those before it.
//
// AdapterFusion (Pfeiffer et al. 2020) is not here. It trains attention over the outputs of frozen adapters that lie in folders of their
// own, and its folder (adapter_fusion_config.json, model_adapter_fusion.safetensors) holds the attention alone. A method knows its own
// configuration and the base's sites, and one folder is one method: it would need other adapters in [Env], their outputs before the
// residual, and a folder of several in Save and Open.
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

// Attach implements Method.
func (m *bottleneck) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	m.at, m.names, m.params = map[string]*bnPlace{}, nil, nil
	if err := m.check(); err != nil {
		return err
	}
	if taskOf(sites) == seqCls {
		return fmt.Errorf("peft: BOTTLENECK: the folder of these adapters holds no head, so a classifier's would stay untrained; use a " +
			"method with modules_to_save")
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
			if l, ok := layoutOf(s.Op); ok {
				hidden = l.Cols
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
		if err := c.fits(s, normed[s.Out]); err != nil {
			return err
		}
		p := &bnPlace{name: blocks[s.Layer] + part, parallel: c.IsParallel, before: c.OriginalLNBefore && !c.IsParallel && len(s.In) > 1,
			dropout: c.Dropout}
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

// fits refuses a sublayer at which the configuration has no place; normed says whether a norm follows it.
func (c *BottleneckConfig) fits(s nn.Site, normed bool) error {
	if c.IsParallel && len(s.In) < 2 {
		return fmt.Errorf("peft: BOTTLENECK: %s runs beside attention, so there is no residual stream of its own to read; "+
			"is_parallel cannot be true for this family", s.Name)
	}
	if c.OriginalLNBefore && !c.IsParallel && normed {
		return fmt.Errorf("peft: BOTTLENECK: %s is followed by a norm of its own in this family, where original_ln_before is not "+
			"supported; "+
			"set it to false, or use double_seq_bn or par_bn", s.Name)
	}
	return nil
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
