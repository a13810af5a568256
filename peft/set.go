package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// BaseName stands in a selection for the base model without an adapter, as in HF PEFT's adapter_names.
const BaseName = "__base__"

// Set is several adapters of one base model that one program carries: they are switched without a reload, added up, and mixed in one batch,
// each range of tokens (nn.Segment) with its own. Adapters of different methods and ranks may be in one set. It is HF PEFT's load_adapter,
// set_adapter and adapter_names.
type Set struct {
	members    []*member
	selections []string // by slot: the sorted indices of the members that take part
	active     [][]bool // the same by slot and member
}

type member struct {
	name    string
	adapter *Adapter
	scope   *nn.Scope
}

// Add puts an adapter into the set under a name, before programs are compiled with it. An adapter that needs the whole step for itself
// cannot be mixed and is refused: one that trains a part of the base, or puts virtual tokens before each document.
func (s *Set) Add(name string, a *Adapter) error {
	if name == "" || name == BaseName || strings.Contains(name, ":") {
		return fmt.Errorf("peft: %q cannot be the name of an adapter", name)
	}
	if s.find(name) >= 0 {
		return fmt.Errorf("peft: there are two adapters called %q", name)
	}
	if _, ok := a.Method.(Prompter); ok {
		return fmt.Errorf("peft: the %s adapter %q lengthens each document, so it cannot be mixed with others; load it alone",
			a.Type(), name)
	}
	if !a.Segmentable() {
		return fmt.Errorf("peft: the %s adapter %q changes a part of the base for a whole step, so it cannot be mixed with others; load "+
			"it alone, or merge it", a.Type(), name)
	}
	if a.scope != "" {
		return fmt.Errorf("peft: the adapter %q is in a set already", name)
	}
	a.scope = name
	m := &member{name: name, adapter: a}
	m.scope = &nn.Scope{Name: name, Slot: func(slot int) int {
		if i := slices.Index(s.members, m); slot < len(s.active) && i < len(s.active[slot]) && s.active[slot][i] {
			return 0
		}
		return -1
	}}
	s.members = append(s.members, m)
	return nil
}

// Mixable says whether the adapter can be in a [Set]: it puts no virtual tokens before a document, and changes no part of the base for a
// whole step.
func (a *Adapter) Mixable() bool {
	_, prompts := a.Method.(Prompter)
	return !prompts && a.Segmentable()
}

// Remove takes the adapter of a name out of the set and its parameters out of params. Programs that are compiled with it must be closed
// before, and no slot that was selected before stands for anything afterwards.
func (s *Set) Remove(name string, params *nn.Params) {
	i := s.find(name)
	if i < 0 {
		return
	}
	a := s.members[i].adapter
	for _, p := range a.Params() {
		params.Remove(a.paramName(p))
	}
	a.scope = ""
	s.members = slices.Delete(s.members, i, i+1)
	s.selections, s.active = nil, nil
}

func (s *Set) find(name string) int {
	return slices.IndexFunc(s.members, func(m *member) bool { return m.name == name })
}

// Names lists the adapters in the order in which they were added.
func (s *Set) Names() []string {
	var out []string
	for _, m := range s.members {
		out = append(out, m.name)
	}
	return out
}

// Get is the adapter of a name, nil where there is none.
func (s *Set) Get(name string) *Adapter {
	if i := s.find(name); i >= 0 {
		return s.members[i].adapter
	}
	return nil
}

// Select gives the slot of the token ranges in which the named adapters take part, all of them added up; BaseName alone is the base, slot
// -1. What an adapter changes is seen by those that were added later and read it: bottleneck adapters are stacked so.
func (s *Set) Select(names ...string) (int, error) {
	if len(names) == 1 && names[0] == BaseName {
		return -1, nil
	}
	on := make([]bool, len(s.members))
	for _, n := range names {
		i := s.find(n)
		if i < 0 {
			return 0, fmt.Errorf("peft: no adapter is called %q; there are %s and %s", n, strings.Join(s.Names(), ", "), BaseName)
		}
		on[i] = true
	}
	key := fmt.Sprint(on)
	if i := slices.Index(s.selections, key); i >= 0 {
		return i, nil
	}
	s.selections, s.active = append(s.selections, key), append(s.active, on)
	return len(s.active) - 1, nil
}

// Adapters are what a program is compiled with: those that are named, or all where none is. They have the order in which they were added.
func (s *Set) Adapters(names ...string) []nn.Adapter {
	var out []nn.Adapter
	for _, m := range s.members {
		if len(names) == 0 || slices.Contains(names, m.name) {
			out = append(out, m)
		}
	}
	return out
}

// Adapt implements nn.Adapter.
func (m *member) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	return b.Scoped(m.scope, func() nn.Ref { return m.adapter.Adapt(b, s) })
}

// HotSwap puts the values of another adapter, opened from a folder, in the place of this one's in a slot of params: no program is compiled
// again. Both have the same method, targets and shapes; LoRA's lora_alpha may differ. It is HF PEFT's hotswap_adapter.
func (a *Adapter) HotSwap(params *nn.Params, slot int, other *Adapter) error {
	if other.loaded == nil {
		return fmt.Errorf("peft: hot swap needs an adapter that was opened from a folder")
	}
	if a.Type() != other.Type() || len(a.Params()) != len(other.Params()) {
		return fmt.Errorf("peft: a %s adapter of %d tensors cannot take the place of a %s adapter of %d without a reload", other.Type(),
			len(other.Params()), a.Type(), len(a.Params()))
	}
	scale := map[string]float32{}
	mine, ok := a.Method.(*lora)
	if ok {
		theirs := other.Method.(*lora)
		for name, p := range mine.pairs {
			if p.tied != nil {
				continue
			}
			if q := theirs.pairs[name]; q != nil {
				scale[p.b.Name] = float32(q.scale / p.scale)
			}
		}
	}
	x, y := swapConfig(a, ok), swapConfig(other, ok)
	if x != y {
		return fmt.Errorf("peft: the configurations differ in more than values, so one adapter cannot take the other's place without a "+
			"reload: %s and %s", x, y)
	}
	for _, p := range a.Params() {
		v, ok := other.loaded[p.Name]
		if !ok || len(v) != p.Size() {
			return fmt.Errorf("peft: the other adapter's %s has %d values, this one's %d; load it beside this one instead",
				p.Key, len(v), p.Size())
		}
	}
	for _, p := range a.Params() {
		dst, err := a.values(params, p, slot)
		if err != nil {
			return err
		}
		f, ok := scale[p.Name]
		for i, v := range other.loaded[p.Name] {
			if ok {
				v *= f
			}
			dst[i] = v
		}
	}
	return nil
}

// swapConfig is a configuration without what a hot swap may change.
func swapConfig(a *Adapter, lora bool) string {
	c := a.fields()
	for _, k := range []string{"base_model_name_or_path", "revision", "peft_version", "inference_mode", "task_type", "init_lora_weights",
		"init_weights", "lora_dropout"} {
		delete(c, k)
	}
	if t, ok := c["target_modules"].([]any); ok { // a set
		names := make([]string, len(t))
		for i, n := range t {
			names[i] = fmt.Sprint(n)
		}
		slices.Sort(names)
		c["target_modules"] = names
	}
	if lora {
		for _, k := range []string{"lora_alpha", "alpha_pattern", "use_rslora"} {
			delete(c, k)
		}
	}
	return string(encode(c, ""))
}
