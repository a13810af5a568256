package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// tuner is what methods that adapt chosen linear layers share: resolving target_modules, naming parameters, biases and
// modules_to_save, the wiring and the list of parameters. A method embeds it (or mergeTuner), and its Attach calls attach with a
// function that gives each target its form: what the method does there.
type tuner struct {
	method  string
	extra   *extras
	list    []*target
	at      map[string]*target
	params  []*Param
	frozen  []Frozen
	oneSlot bool // the method itself cannot use several slots in one step
}

// target is one linear layer that a method adapts.
type target struct {
	site    nn.Site
	name    string // full module name
	in, out int
	conv    bool // Conv1D: the base stores the weight [in, out]
	form    form
	params  []*Param // inputs of the form, in its order; several targets may share one
}

// form is what a method does at one linear layer: a [delta], [factors], [transform], or an op of the method's own.
type form interface {
	// wire adds the form to a program and returns the layer's new output. s.Out is the base's.
	wire(b *nn.Builder, s nn.Site, t *target) nn.Ref
}

// merger is a form that can be folded into the layer.
type merger interface {
	// merge changes the layer's weight w [out, in] and bias (nil where it has none) in place. p are the values of t.params.
	merge(t *target, p [][]float32, w, bias []float32) error
}

// unmerger is a merger whose linear part can be undone, of a weight [out, in] or of a bias, in place; the other is nil. Unmerging needs it
// where the part is far from the identity, as a rotation is.
type unmerger interface {
	unmerge(t *target, p [][]float32, w, bias []float32)
}

// biasMaker is a form whose merge needs a bias even where the base has none.
type biasMaker interface{ makesBias() bool }

func (u *tuner) Type() string      { return u.method }
func (u *tuner) Params() []*Param  { return u.params }
func (u *tuner) Frozen() []Frozen  { return u.frozen }
func (u *tuner) Targets() []string { return u.names() }

func (u *tuner) names() []string {
	var out []string
	for _, t := range u.list {
		out = append(out, t.name)
	}
	return out
}

// Segmentable is false where a part of the base is trained itself, of which there is one copy in a step, and where the
// method says so.
func (u *tuner) Segmentable() bool {
	for _, t := range u.extra.at {
		if t.weight != nil || t.bias != nil || t.rows != nil && t.kind == nn.KindHead {
			return false
		}
	}
	return !u.oneSlot
}

// attach resolves cfg, a pointer to the method's configuration, against the sites: it fills in target_modules and
// fan_in_fan_out, checks the shared fields, and calls build for each target, which sets t.form and makes t.params.
func (u *tuner) attach(cfg any, sites []nn.Site, env Env, build func(t *target) error) error {
	u.extra, u.at, u.list, u.params, u.frozen = newExtras(), map[string]*target{}, nil, nil, nil
	targets := fieldOf[Names](cfg, "target_modules")
	if !targets.Set() {
		var err error
		if targets, err = targetsFor(u.method, env.ModelType); err != nil {
			return err
		}
		setField(cfg, "target_modules", targets)
	}
	bias := "none"
	if hasField(cfg, "bias") {
		bias = fieldOf[string](cfg, "bias")
		if err := checkBias(u.method, bias); err != nil {
			return err
		}
	}
	spec := targetSpec{Target: targets, Exclude: fieldOf[Names](cfg, "exclude_modules"), Save: fieldOf[[]string](cfg, "modules_to_save"),
		Layers: fieldOf[Ints](cfg, "layers_to_transform"), LayersPattern: fieldOf[Names](cfg, "layers_pattern")}
	if _, err := newMatcher(spec); err != nil { // before "all-linear" becomes a list, which may have layers_to_transform
		return err
	}
	spec.Target = expandAllLinear(spec.Target, sites)
	setField(cfg, "target_modules", spec.Target)
	found, err := matchSites(u.method, spec, sites)
	if err != nil {
		return err
	}
	fan, convs := hasField(cfg, "fan_in_fan_out"), false
	for _, s := range found {
		l, _ := layoutOf(s.Op)
		if s.Kind != nn.KindLinear {
			return fmt.Errorf("peft: %s: target %s is a %s; %s adapts linear layers inside the blocks", u.method, s.Name, s.Kind, u.method)
		}
		if l.Transposed && !fan {
			return fmt.Errorf("peft: %s: target %s is a Conv1D, which %s does not adapt; it adapts linear layers",
				u.method, s.Name, u.method)
		}
		convs = convs || l.Transposed
		t := &target{site: s, name: s.Name, in: l.Cols, out: l.Rows, conv: l.Transposed}
		if t.conv {
			t.in, t.out = t.out, t.in
		}
		u.list = append(u.list, t)
	}
	if fan {
		setField(cfg, "fan_in_fan_out", convs)
	}
	known := map[*Param]bool{}
	for _, t := range u.list {
		u.at[t.name] = t
		if err := build(t); err != nil {
			return err
		}
		for _, p := range t.params {
			if !known[p] {
				known[p] = true
				u.params = append(u.params, p)
			}
		}
	}
	return u.attachExtras(spec.Save, bias, sites)
}

// attachExtras adds modules_to_save and biases.
func (u *tuner) attachExtras(save []string, bias string, sites []nn.Site) error {
	saved, err := u.extra.save(save, sites)
	if err != nil {
		return err
	}
	for _, p := range saved {
		for _, t := range u.list {
			if strings.HasPrefix(p.Key, prefix+t.name+".") {
				return fmt.Errorf("peft: %s: %s is in target_modules and in modules_to_save; give its full name in only one of them",
					u.method, t.name)
			}
		}
	}
	u.params = append(u.params, saved...)
	if bias == "none" {
		return nil
	}
	isTarget := func(name string) bool { return u.at[name] != nil }
	want := isTarget
	if bias == "all" {
		want = func(string) bool { return true }
	}
	u.params = append(u.params, u.extra.biases(sites, want, isTarget)...)
	return nil
}

// Adapt implements nn.Adapter.
func (u *tuner) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	s = u.extra.apply(b, s)
	t := u.at[s.Name]
	if t == nil || s.Kind != nn.KindLinear {
		return s.Out
	}
	return t.form.wire(b, s, t)
}

// key is the name of a tensor of the target, as torch and HF's file have it.
func (t *target) key(tensor string) string { return prefix + t.name + "." + tensor }

// param makes a trainable parameter of the target. Of a tensor with more than two dimensions the nn parameter has the first as
// rows; a vector is one row.
func (t *target) param(tensor string, init func([]float32), shape ...int) *Param {
	p := newParam(t.key(tensor), t.key(tensor), init, shape...)
	t.params = append(t.params, p)
	return p
}

// newParam makes a trainable parameter that is not a single target's, which appends it to its params.
func newParam(name, key string, init func([]float32), shape ...int) *Param {
	p := &Param{Name: name, Key: key, Rows: 1, Cols: 1, Shape: slices.Clone(shape), Init: init}
	for _, n := range shape {
		p.Cols *= n
	}
	if len(shape) > 1 {
		p.Rows = shape[0]
		p.Cols /= shape[0]
	}
	return p
}

// refs declares the target's parameters to the builder.
func (t *target) refs(b *nn.Builder) []nn.Ref {
	out := make([]nn.Ref, len(t.params))
	for i, p := range t.params {
		out[i] = p.param(b)
	}
	return out
}

// sizes are the lengths of the target's parameters, to cut banks with.
func (t *target) sizes() []int {
	out := make([]int, len(t.params))
	for i, p := range t.params {
		out[i] = p.Size()
	}
	return out
}

// weight fills dst [out, in] with the base's frozen weight.
func (t *target) weight(dst []float32) { t.base().W.Dense(dst) }

// base is what the frozen layer holds.
func (t *target) base() nn.Base { return t.site.Op.(nn.Module).Base() }

// mergeTuner is a tuner whose forms can be folded into the base.
type mergeTuner struct{ tuner }

// Merge implements Merger.
func (u *mergeTuner) Merge(value func(string) []float32, base func(string) ([]float32, error), want Wanted) (map[string][]float32, error) {
	out := map[string][]float32{}
	for _, t := range u.list {
		if !want.has(t.name) {
			continue
		}
		w, err := base(t.name + ".weight")
		if err != nil {
			return nil, fmt.Errorf("peft: merging %s: %w", t.name, err)
		}
		if len(w) != t.in*t.out {
			return nil, fmt.Errorf("peft: merging %s: the base tensor has %d values, the adapter is for [%d, %d]", t.name,
				len(w), t.out, t.in)
		}
		m := slices.Clone(w)
		if t.conv {
			m = transpose(m, t.in, t.out)
		}
		var bias []float32
		if x := u.extra.at[t.name]; x != nil && x.bias != nil {
			bias = slices.Clone(value(x.bias.Name))
		} else if own := t.base().Bias; own != nil {
			if bias, err = base(t.name + ".bias"); err != nil {
				bias = own
			}
			bias = slices.Clone(bias)
		}
		before := slices.Clone(bias)
		if f, ok := t.form.(biasMaker); ok && bias == nil && f.makesBias() {
			bias = make([]float32, t.out)
		}
		var p [][]float32
		for _, q := range t.params {
			p = append(p, value(q.Name))
		}
		if err := t.form.(merger).merge(t, p, m, bias); err != nil {
			return nil, fmt.Errorf("peft: merging %s: %w", t.name, err)
		}
		if t.conv {
			m = transpose(m, t.out, t.in)
		}
		out[t.name+".weight"] = m
		if !slices.Equal(bias, before) {
			out[t.name+".bias"] = bias
		}
	}
	bias := map[string][]float32{} // as the forms left them
	for _, t := range u.list {
		if b, ok := out[t.name+".bias"]; ok {
			bias[t.name+".bias"] = b
		}
	}
	if err := u.extra.merge(out, value, base, want); err != nil {
		return nil, err
	}
	for k, b := range bias {
		out[k] = b
	}
	return out, nil
}

// undo turns what is missing of a merged tensor into what is missing of the base's.
func (u *mergeTuner) undo(value func(string) []float32, tensor string, d []float32) {
	for _, t := range u.list {
		f, ok := t.form.(unmerger)
		if !ok || tensor != t.name+".weight" && tensor != t.name+".bias" {
			continue
		}
		var p [][]float32
		for _, q := range t.params {
			p = append(p, value(q.Name))
		}
		switch {
		case tensor == t.name+".bias":
			f.unmerge(t, p, nil, d)
		case t.conv:
			w := transpose(d, t.in, t.out)
			f.unmerge(t, p, w, nil)
			copy(d, transpose(w, t.out, t.in))
		default:
			f.unmerge(t, p, d, nil)
		}
	}
}

// unties implements untier.
func (u *mergeTuner) unties() bool { return u.extra.unties() }
