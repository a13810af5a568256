package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// Bank is adapters of one base model in the slots of one set of parameters: a program that is compiled with it mixes any of them in one
// batch (nn.Segment.Slot is the slot in the bank), and an adapter takes a slot, or leaves it, while the program lives, as long as the bank
// knows its form: type, configuration and shapes. A form that is new needs the program compiled again. Memory of a slot is only taken by
// the form that is in it. See [Set] for adapters that are added up.
type Bank struct {
	params *nn.Params
	forms  []*bankForm
	taken  []*bankForm // by slot
}

type bankForm struct {
	key   string
	model *Adapter // that which wires programs
	scope *nn.Scope
}

// NewBank makes a bank of so many slots.
func NewBank(slots int) *Bank {
	return &Bank{params: nn.NewParams(slots), taken: make([]*bankForm, slots)}
}

// Params are those of the adapters, to compile programs with; see Free.
func (b *Bank) Params() *nn.Params { return b.params }

// Slots is the number of adapters that the bank has room for.
func (b *Bank) Slots() int { return len(b.taken) }

// Knows says whether programs that are compiled with the bank can take the adapter.
func (b *Bank) Knows(a *Adapter) bool { return b.form(a) != nil }

// Learn makes the bank know the form of an adapter that was opened from a folder and is Bankable. The adapter is the bank's from then on.
// Programs that were compiled with the bank before must be closed.
func (b *Bank) Learn(a *Adapter) error {
	switch {
	case !a.Bankable():
		return fmt.Errorf("peft: the %s adapter needs a whole step or tensors of its own, so it cannot be in a bank", a.Type())
	case a.loaded == nil:
		return fmt.Errorf("peft: a bank takes adapters that were opened from a folder")
	case a.scope != "":
		return fmt.Errorf("peft: the adapter is in a set already")
	case b.Knows(a):
		return nil
	}
	f := &bankForm{key: formKey(a), model: a}
	a.scope = fmt.Sprintf("form%d", len(b.forms))
	f.scope = &nn.Scope{Name: a.scope, Slot: func(slot int) int {
		if slot < len(b.taken) && b.taken[slot] == f {
			return slot
		}
		return -1
	}}
	for _, p := range a.Params() { // not by a program, which would write starting values into each slot
		b.params.Add(a.paramName(p), p.Rows, p.Cols, nil)
	}
	b.forms = append(b.forms, f)
	return nil
}

// Put gives a slot the values of an adapter whose form the bank knows. No program may run meanwhile.
func (b *Bank) Put(slot int, a *Adapter) error {
	f := b.form(a)
	if f == nil {
		return fmt.Errorf("peft: the bank does not know a %s adapter of this configuration", a.Type())
	}
	b.taken[slot] = nil
	for _, p := range f.model.Params() {
		v, ok := a.loaded[p.Name]
		if !ok || len(v) != p.Size() {
			return fmt.Errorf("peft: the adapter's %s has %d values; it should have %d", p.Key, len(v), p.Size())
		}
		dst, err := f.model.values(b.params, p, slot)
		if err != nil {
			return err
		}
		copy(dst, v)
	}
	b.taken[slot] = f
	return nil
}

// Leave empties a slot: its segments are the base's.
func (b *Bank) Leave(slot int) { b.taken[slot] = nil }

// Free frees the parameters, and gives the adapters by which the bank knew its forms. Programs that are compiled with it must be closed.
func (b *Bank) Free() (forms []*Adapter) {
	for _, f := range b.forms {
		f.model.scope = ""
		forms = append(forms, f.model)
	}
	b.params.Free()
	b.forms = nil
	clear(b.taken)
	return forms
}

// Adapters are what a program is compiled with.
func (b *Bank) Adapters() (out []nn.Adapter) {
	for _, f := range b.forms {
		out = append(out, f)
	}
	return out
}

// Adapt implements nn.Adapter.
func (f *bankForm) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	return b.Scoped(f.scope, func() nn.Ref { return f.model.Adapt(b, s) })
}

func (b *Bank) form(a *Adapter) *bankForm {
	key := formKey(a)
	if i := slices.IndexFunc(b.forms, func(f *bankForm) bool { return f.key == key }); i >= 0 {
		return b.forms[i]
	}
	return nil
}

// formKey is what adapters of one form have in common: all of the configuration that an op may read, and the shapes.
func formKey(a *Adapter) string {
	c := a.fields()
	for _, k := range []string{"base_model_name_or_path", "revision", "peft_version", "inference_mode"} {
		delete(c, k)
	}
	if t, ok := c["target_modules"].([]any); ok { // a set
		slices.SortFunc(t, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	k := a.Type() + string(encode(c, ""))
	for _, p := range a.Params() {
		k += fmt.Sprintf(" %s %d %d", p.Name, p.Rows, p.Cols)
	}
	return k
}

// Bankable says whether the adapter can be in a [Bank]: it is Mixable, and all that its folder holds beside its configuration are
// parameters.
func (a *Adapter) Bankable() bool {
	return a.Mixable() && !slices.ContainsFunc(a.Frozen(), func(f Frozen) bool { return f.Load != nil })
}

// Invoked says whether the adapter acts from its invocation in a text on (aLoRA): then what it makes of a text's beginning depends on what
// follows.
func (a *Adapter) Invoked() bool {
	l, ok := a.Method.(*lora)
	return ok && l.cfg.AloraInvocationTokens != nil
}

// SameForm says whether adapters differ in nothing but values: a [Bank] that knows one takes the other.
func SameForm(a, b *Adapter) bool { return formKey(a) == formKey(b) }
