package peft

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// LNTuningConfig is HF's LNTuningConfig.
type LNTuningConfig struct {
	Common
	ExcludeFields
	TargetModules Names `json:"target_modules"`
	ModulesToSave Save  `json:"modules_to_save"`
}

// Save is a list of module names to save whole, written as HF has it: a list, one name, or null.
type Save struct {
	One  bool
	List []string
}

// MarshalJSON writes a list, a string or null.
func (s Save) MarshalJSON() ([]byte, error) {
	if s.One {
		return encode(s.List[0], ""), nil
	}
	return encode(s.List, ""), nil
}

// UnmarshalJSON reads a list, a string or null.
func (s *Save) UnmarshalJSON(b []byte) error {
	*s = Save{}
	var one string
	if len(b) > 0 && b[0] == '"' {
		err := json.Unmarshal(b, &one)
		*s = Save{One: true, List: []string{one}}
		return err
	}
	if err := json.Unmarshal(b, &s.List); err != nil {
		return fmt.Errorf("want a list of strings or a string")
	}
	return nil
}

// lnTuning is LayerNorm tuning (Zhao et al. 2023, "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning",
// arXiv:2312.11420): the weights, and where there are any the biases, of the chosen norms are trained themselves, y = γ ⊙ norm(x) + β. Any
// single module can be chosen, as in HF, such as the head.
type lnTuning struct {
	cfg    LNTuningConfig
	extra  *extras
	names  []string
	params []*Param
}

func newLNTuning() Method { return &lnTuning{cfg: LNTuningConfig{Common: newCommon("LN_TUNING")}} }

func (m *lnTuning) Type() string      { return "LN_TUNING" }
func (m *lnTuning) Config() any       { return &m.cfg }
func (m *lnTuning) Params() []*Param  { return m.params }
func (m *lnTuning) Frozen() []Frozen  { return nil }
func (m *lnTuning) Targets() []string { return slices.Clone(m.names) }

// Segmentable is false: a step has one copy of each norm.
func (m *lnTuning) Segmentable() bool { return false }

// Attach implements Method.
func (m *lnTuning) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	m.extra, m.names, m.params = newExtras(), nil, nil
	if !c.TargetModules.Set() {
		t, err := targetsFor("LN_TUNING", env.ModelType)
		if err != nil {
			return err
		}
		c.TargetModules = t
	}
	found, err := matchSites("LN_TUNING", targetSpec{Target: c.TargetModules, Exclude: c.ExcludeModules, Save: c.ModulesToSave.List}, sites)
	if err != nil {
		return err
	}
	for _, s := range found {
		t := m.extra.site(s)
		name := prefix + s.Name + ".ln_tuning_layers."
		t.weight = t.layout.param(name+"weight", name+"weight")
		m.params = append(m.params, t.weight)
		if t.layout.Bias != nil {
			t.bias = t.layout.biasParam(name+"bias", name+"bias")
			m.params = append(m.params, t.bias)
		}
		m.names = append(m.names, s.Name)
	}
	saved, err := m.extra.save(c.ModulesToSave.List, sites)
	m.params = append(m.params, saved...)
	return err
}

// Adapt implements nn.Adapter.
func (m *lnTuning) Adapt(b *nn.Builder, s nn.Site) nn.Ref { return m.extra.apply(b, s).Out }

// Merge implements Merger: the trained norms in the place of the base's.
func (m *lnTuning) Merge(value func(string) []float32, base func(string) ([]float32, error), want Wanted) (map[string][]float32, error) {
	out := map[string][]float32{}
	err := m.extra.merge(out, value, base, want)
	return out, err
}

// unties implements untier.
func (m *lnTuning) unties() bool { return m.extra.unties() }
