package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// BitFitConfig is the configuration of BitFit. Its fields are those of HF's methods.
type BitFitConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
}

// bitFit is BitFit (Ben Zaken et al. 2021, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models",
// arXiv:2106.10199): all biases of the base model are trained themselves, or those of target_modules, and nothing else. HF PEFT has no such
// method (its bias: "all" comes with another one). The folder has its layout: peft_type BITFIT in adapter_config.json and each bias in
// adapter_model.safetensors under "base_model.model." and its own name, so that transformers takes them by
//
//	model.load_state_dict({k.removeprefix("base_model.model."): v for k, v in load_file(path).items()}, strict=False)
type bitFit struct {
	cfg    BitFitConfig
	extra  *extras
	names  []string
	params []*Param
}

func newBitFit() Method { return &bitFit{cfg: BitFitConfig{Common: newCommon("BITFIT")}} }

func (m *bitFit) Type() string      { return "BITFIT" }
func (m *bitFit) Config() any       { return &m.cfg }
func (m *bitFit) Params() []*Param  { return m.params }
func (m *bitFit) Frozen() []Frozen  { return nil }
func (m *bitFit) Targets() []string { return slices.Clone(m.names) }

// Segmentable is false: a step has one copy of the base's biases.
func (m *bitFit) Segmentable() bool { return false }

// Attach implements Method.
func (m *bitFit) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	m.extra, m.names, m.params = newExtras(), nil, nil
	saved, err := m.extra.save(c.ModulesToSave, sites)
	if err != nil {
		return err
	}
	want := func(string) bool { return true }
	if c.TargetModules.Set() {
		found, err := matchSites("BITFIT", targetSpec{Target: expandAllLinear(c.TargetModules, sites), Exclude: c.ExcludeModules,
			Save:   c.ModulesToSave,
			Layers: c.LayersToTransform, LayersPattern: c.LayersPattern}, sites)
		if err != nil {
			return err
		}
		names := map[string]bool{}
		for _, s := range found {
			names[s.Name] = true
		}
		want = func(name string) bool { return names[name] }
	} else if c.ExcludeModules.Set() || c.LayersToTransform.List != nil || c.LayersPattern.Set() {
		return fmt.Errorf("peft: BITFIT: exclude_modules, layers_to_transform and layers_pattern narrow target_modules, which is not " +
			"set; name the modules there")
	}
	biases := m.extra.biases(sites, want, func(string) bool { return false })
	if len(biases) == 0 {
		return fmt.Errorf("peft: BITFIT: the chosen modules have no biases; models of this family may have none at all (BEFT adds " +
			"biases, LN_TUNING trains the norms)")
	}
	m.params = append(biases, saved...)
	for _, s := range weighted(sites) {
		if x := m.extra.at[s.Name]; x != nil && x.bias != nil && x.weight == nil {
			m.names = append(m.names, s.Name)
		}
	}
	return nil
}

// Adapt implements nn.Adapter.
func (m *bitFit) Adapt(b *nn.Builder, s nn.Site) nn.Ref { return m.extra.apply(b, s).Out }

// Merge implements Merger: the trained biases in the place of the base's.
func (m *bitFit) Merge(value func(string) []float32, base func(string) ([]float32, error), want Wanted) (map[string][]float32, error) {
	out := map[string][]float32{}
	err := m.extra.merge(out, value, base, want)
	return out, err
}
