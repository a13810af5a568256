package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// FullConfig is the configuration of full fine-tuning. Its fields freeze what they do not choose; a module around others, such as "mlp",
// "layers.3" or "embed_tokens", stands for all in it.
type FullConfig struct {
	Common
	ExcludeFields
	TargetModules     Names `json:"target_modules"`      // null trains all
	LayersToTransform Ints  `json:"layers_to_transform"` // numbers of blocks, counted from 0; null trains what is outside the blocks too
}

// full is full fine-tuning as a method of the same interface, for comparison and for continued pretraining: every weight and bias of the
// base model, or of the modules and blocks that the configuration chooses, starts at its value and is trained; the others are frozen, and
// nothing below the lowest that is trained is computed backwards. A head that is tied to the embedding stays tied: both use one parameter,
// and choosing one chooses both. HF PEFT has no such method; the folder has its layout (a configuration and a safetensors file with the
// weights under "base_model.model." and their own names), and the merged model is the ordinary checkpoint.
type full struct {
	cfg    FullConfig
	extra  *extras
	names  []string
	params []*Param
	tied   bool
}

func newFull() Method {
	return &full{cfg: FullConfig{Common: newCommon("FULL")}}
}

func (f *full) Type() string      { return "FULL" }
func (f *full) Config() any       { return &f.cfg }
func (f *full) Params() []*Param  { return f.params }
func (f *full) Frozen() []Frozen  { return nil }
func (f *full) Targets() []string { return slices.Clone(f.names) }

// Segmentable is false: a step has one copy of the base.
func (f *full) Segmentable() bool { return false }

// around says whether a name or that of a module around it is matched by n: as target_modules are, a list by the ends of names.
func around(field string, n Names) (func(name string) (bool, error), error) {
	var re *pyRegex
	if n.Pattern != "" {
		var err error
		if re, err = compilePy(field, n.Pattern, fullMatch); err != nil {
			return nil, err
		}
	}
	return func(name string) (bool, error) {
		for ; ; name = name[:strings.LastIndexByte(name, '.')] {
			if re == nil && named(n.List, name) {
				return true, nil
			}
			if re != nil {
				if ok, err := re.match(name); ok || err != nil {
					return ok, err
				}
			}
			if !strings.Contains(name, ".") {
				return false, nil
			}
		}
	}, nil
}

// chosen are the names of the modules that are trained.
func (f *full) chosen(sites []nn.Site) (map[string]bool, error) {
	c := &f.cfg
	want, err := around("target_modules", c.TargetModules)
	if err != nil {
		return nil, err
	}
	frozen, err := around("exclude_modules", c.ExcludeModules)
	if err != nil {
		return nil, err
	}
	blocks := map[int]bool{}
	all := weighted(sites)
	for _, s := range all {
		blocks[s.Layer] = true
	}
	for _, l := range c.LayersToTransform.List {
		if l < 0 || !blocks[l] {
			delete(blocks, -1)
			return nil, fmt.Errorf("peft: FULL: layers_to_transform has %d, but the model has the blocks 0 to %d", l, len(blocks)-1)
		}
	}
	for _, n := range c.TargetModules.List {
		one, _ := around("target_modules", Names{List: []string{n}})
		if !slices.ContainsFunc(all, func(s nn.Site) bool { ok, _ := one(s.Name); return ok }) {
			return nil, noTarget("target_modules", []string{n}, sites)
		}
	}
	out := map[string]bool{}
	for _, s := range all {
		ok := !c.TargetModules.Set()
		if !ok {
			if ok, err = want(s.Name); err != nil {
				return nil, err
			}
		}
		off, err := frozen(s.Name)
		if err != nil {
			return nil, err
		}
		if ok && !off && (c.LayersToTransform.List == nil || slices.Contains(c.LayersToTransform.List, s.Layer)) {
			out[s.Name] = true
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("peft: FULL: target_modules, exclude_modules and layers_to_transform together leave no module to train")
	}
	return out, nil
}

// Attach implements Method.
func (f *full) Attach(sites []nn.Site, env Env) error {
	f.extra, f.tied, f.names, f.params = newExtras(), env.Tied, nil, nil
	chosen, err := f.chosen(sites)
	if err != nil {
		return err
	}
	var head string
	for _, s := range weighted(sites) {
		if s.Kind == nn.KindHead {
			head = s.Name
		}
	}
	var embedding *trained
	for _, s := range weighted(sites) {
		embeds := embedsTokens(s)
		shared := f.tied && (s.Kind == nn.KindHead && embedding != nil || embeds && embedding == nil && chosen[head])
		if !chosen[s.Name] && !shared {
			continue
		}
		t := f.extra.site(s)
		f.names = append(f.names, s.Name)
		l := t.layout
		if s.Kind == nn.KindHead && f.tied && embedding != nil {
			t.weight = embedding.weight
		} else {
			name := prefix + s.Name + ".weight"
			t.weight = l.param(name, name)
			f.params = append(f.params, t.weight)
		}
		if embeds && embedding == nil {
			embedding = t
		}
		if l.Bias != nil {
			name := prefix + s.Name + ".bias"
			t.bias = l.biasParam(name, name)
			f.params = append(f.params, t.bias)
		}
	}
	return nil
}

// Adapt implements nn.Adapter.
func (f *full) Adapt(b *nn.Builder, s nn.Site) nn.Ref { return f.extra.apply(b, s).Out }

// Merge implements Merger: the weights as they are.
func (f *full) Merge(value func(string) []float32, _ func(string) ([]float32, error), want Wanted) (map[string][]float32, error) {
	out := map[string][]float32{}
	for _, p := range f.params {
		if tensor := p.Key[len(prefix):]; want.has(tensor[:max(0, lastDot(tensor))]) {
			out[tensor] = slices.Clone(value(p.Name))
		}
	}
	return out, nil
}
