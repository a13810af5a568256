package peft

import (
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// FullConfig is the configuration of full fine-tuning.
type FullConfig struct {
	Common
}

// full is full fine-tuning as a method of the same interface, for comparison and for continued pretraining: every weight and
// bias of the base model starts at its value and is trained. A head that is tied to the embedding stays tied: both use one
// parameter. HF PEFT has no such method; the folder has its layout (a configuration and a safetensors file with the weights
// under "base_model.model." and their own names), and the merged model is the ordinary checkpoint.
type full struct {
	cfg    FullConfig
	extra  *extras
	names  []string
	params []*Param
	tied   bool
}

func newFull() Method {
	return &full{cfg: FullConfig{Common: Common{PeftType: "FULL", PeftVersion: peftVersion}}}
}

func (f *full) Type() string      { return "FULL" }
func (f *full) Config() any       { return &f.cfg }
func (f *full) common() *Common   { return &f.cfg.Common }
func (f *full) Params() []*Param  { return f.params }
func (f *full) Frozen() []Frozen  { return nil }
func (f *full) Targets() []string { return slices.Clone(f.names) }

// Segmentable is false: a step has one copy of the base.
func (f *full) Segmentable() bool { return false }

// Attach implements Method.
func (f *full) Attach(sites []nn.Site, env Env) error {
	f.extra, f.tied = newExtras(), env.Tied
	var embedding *trained
	for _, s := range weighted(sites) {
		t := f.extra.site(s)
		f.names = append(f.names, s.Name)
		l := t.layout
		if s.Kind == nn.KindHead && f.tied && embedding != nil {
			t.weight = embedding.weight
		} else {
			name := prefix + s.Name + ".weight"
			t.weight = &Param{Name: name, Key: name, Rows: l.rows, Cols: l.cols, Shape: l.shape(), Init: func(d []float32) { copy(d, l.weight()) }}
			f.params = append(f.params, t.weight)
		}
		if _, ok := s.Op.(*nn.Embedding); ok && embedding == nil {
			embedding = t
		}
		if l.bias != nil {
			name := prefix + s.Name + ".bias"
			t.bias = &Param{Name: name, Key: name, Rows: 1, Cols: l.biasLen, Shape: []int{l.biasLen}, Init: func(d []float32) { copy(d, l.bias) }}
			f.params = append(f.params, t.bias)
		}
	}
	return nil
}

// Adapt implements nn.Adapter.
func (f *full) Adapt(b *nn.Builder, s nn.Site) nn.Ref { return f.extra.apply(b, s).Out }

// Merge implements Merger: the weights as they are.
func (f *full) Merge(value func(string) []float32, _ func(string) ([]float32, error)) (map[string][]float32, error) {
	out := map[string][]float32{}
	for _, p := range f.params {
		out[p.Key[len(prefix):]] = slices.Clone(value(p.Name))
	}
	return out, nil
}
