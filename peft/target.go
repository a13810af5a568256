package peft

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/nn"
)

// allLinear is HF's name for all linear and Conv1D modules but the output layer.
const allLinear = "all-linear"

// matcher decides which modules a configuration targets, exactly as HF PEFT 0.21's check_target_module_exists.
type matcher struct {
	list       []string
	pattern    *pyRegex
	exclude    []string
	excludeRe  *pyRegex
	save       []*pyRegex // modules_to_save
	layers     []int
	layerRes   []*pyRegex
	haveLayers bool
}

// targetSpec are the fields of a configuration that choose modules.
type targetSpec struct {
	Target, Exclude Names
	Save            []string
	Layers          Ints
	LayersPattern   Names
}

func newMatcher(t targetSpec) (*matcher, error) {
	m := &matcher{list: t.Target.List, exclude: t.Exclude.List, layers: t.Layers.List}
	m.haveLayers = t.Layers.One || len(t.Layers.List) > 0
	var err error
	if t.Target.Pattern != "" {
		if t.Layers.List != nil {
			return nil, fmt.Errorf("peft: layers_to_transform cannot be used when target_modules is a string; write the layers into the " +
				"pattern, or give a list")
		}
		if t.LayersPattern.Set() {
			return nil, fmt.Errorf("peft: layers_pattern cannot be used when target_modules is a string; give a list")
		}
		if m.pattern, err = compilePy("target_modules", t.Target.Pattern, fullMatch); err != nil {
			return nil, err
		}
	}
	patterns := t.LayersPattern.List
	if t.LayersPattern.Pattern != "" {
		patterns = []string{t.LayersPattern.Pattern}
	}
	if len(patterns) > 0 && t.Layers.List == nil {
		return nil, fmt.Errorf("peft: layers_pattern is set, so layers_to_transform must be set too")
	}
	if t.Exclude.Pattern != "" {
		if m.excludeRe, err = compilePy("exclude_modules", t.Exclude.Pattern, fullMatch); err != nil {
			return nil, err
		}
	}
	for _, s := range t.Save {
		re, err := compilePy("modules_to_save", s, `\A(^|.*\.)%s($|\..*)`)
		if err != nil {
			return nil, err
		}
		m.save = append(m.save, re)
	}
	frames := []string{`\A.*?\.[^.]*\.(?<idx>\d+)\.%s`}
	if len(patterns) == 0 {
		patterns = []string{""}
	} else {
		frames[0] = `\A(?:^|.*?\.)%s\.(?<idx>\d+)\.`
	}
	for _, p := range patterns {
		re, err := compilePy("layers_pattern", p, frames[0])
		if err != nil {
			return nil, err
		}
		m.layerRes = append(m.layerRes, re)
	}
	return m, nil
}

// named says whether name is one of the list or ends in "." and one of it.
func named(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return name == s || strings.HasSuffix(name, "."+s) })
}

// excluded says whether a module is out whatever the targets say.
func (m *matcher) excluded(name string) (bool, error) {
	if named(m.exclude, name) {
		return true, nil
	}
	for _, re := range append([]*pyRegex{m.excludeRe}, m.save...) {
		if re == nil {
			continue
		}
		if ok, err := re.match(name); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// match says whether a module is targeted.
func (m *matcher) match(name string) (bool, error) {
	if out, err := m.excluded(name); out || err != nil {
		return false, err
	}
	if m.pattern != nil {
		return m.pattern.match(name)
	}
	if slices.Contains(m.list, name) {
		return true, nil
	}
	if !named(m.list, name) {
		return false, nil
	}
	if !m.haveLayers {
		return true, nil
	}
	for _, re := range m.layerRes {
		idx, ok, err := re.group(name, "idx")
		if err != nil {
			return false, err
		}
		if ok {
			i, err := strconv.Atoi(idx)
			return err == nil && slices.Contains(m.layers, i), nil
		}
	}
	return false, nil
}

// expandAllLinear replaces "all-linear" by the full names of the linear sites, sorted. The output layer is not KindLinear.
func expandAllLinear(t Names, sites []nn.Site) Names {
	if !strings.EqualFold(t.Pattern, allLinear) {
		return t
	}
	out := Names{List: []string{}}
	for _, s := range sites {
		if s.Kind == nn.KindLinear && !slices.Contains(out.List, s.Name) {
			out.List = append(out.List, s.Name)
		}
	}
	sort.Strings(out.List)
	return out
}

// modules lists the names of all modules that the sites show: the sites' own, and those of the modules around them.
func modules(sites []nn.Site) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range sites {
		parts := strings.Split(s.Name, ".")
		for i := range parts {
			n := strings.Join(parts[:i+1], ".")
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	return out
}

// noTarget is the error for targets that match nothing.
func noTarget(field string, want []string, sites []nn.Site) error {
	suffixes := map[string]bool{}
	for _, n := range modules(sites) {
		s := n[strings.LastIndexByte(n, '.')+1:]
		if _, err := strconv.Atoi(s); err != nil {
			suffixes[s] = true
		}
	}
	names := sortedKeys(suffixes)
	var near []string
	for _, w := range want {
		if n := nearest.Name(w[strings.LastIndexByte(w, '.')+1:], names); !slices.Contains(near, n) {
			near = append(near, n)
		}
	}
	return fmt.Errorf("peft: %s %s matches no module of the base model; near names: %s; its modules are: %s",
		field, strings.Join(want, ", "), strings.Join(near, ", "), strings.Join(names, ", "))
}

// noPattern is the error for a string that matches nothing, which is often meant as a name.
func noPattern(p string, sites []nn.Site) error {
	if d := nearest.Distance(strings.ToLower(p), allLinear); d > 0 && d <= 3 {
		return fmt.Errorf("peft: target_modules %q matches no module of the base model; did you mean %q", p, allLinear)
	}
	if slices.ContainsFunc(modules(sites), func(n string) bool { return named([]string{p}, n) }) {
		return fmt.Errorf("peft: target_modules %q is a string, so it is a regular expression that the whole of a module's name must "+
			"match, and none does; "+
			"for the modules whose names end so give a list: [%s]", p, p)
	}
	return noTarget("target_modules", []string{p}, sites)
}

// matchSites returns the sites that the configuration targets, in their order. A target that matches nothing, or a module
// around others, is an error.
func matchSites(method string, spec targetSpec, sites []nn.Site) ([]nn.Site, error) {
	m, err := newMatcher(spec)
	if err != nil {
		return nil, err
	}
	leaf := map[string]bool{}
	for _, s := range sites {
		if _, ok := layoutOf(s.Op); ok {
			leaf[s.Name] = true
		}
	}
	var out []nn.Site
	matched := map[string]bool{}
	for _, n := range modules(sites) {
		ok, err := m.match(n)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if !leaf[n] {
			return nil, fmt.Errorf("peft: %s: target_modules matches %s, which is not a single module with a weight; name the modules "+
				"inside it", method, n)
		}
		matched[n] = true
	}
	for _, s := range weighted(sites) {
		if matched[s.Name] {
			out = append(out, s)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if len(spec.Target.List) == 0 && spec.Target.Pattern == "" {
		return nil, fmt.Errorf("peft: %s: target_modules is empty, so there is nothing to adapt", method)
	}
	if spec.Layers.List != nil || spec.Exclude.Set() || len(spec.Save) > 0 {
		free := spec
		free.Layers, free.LayersPattern, free.Exclude, free.Save = Ints{}, Names{}, Names{}, nil
		if _, err := matchSites(method, free, sites); err == nil {
			return nil, fmt.Errorf("peft: %s: target_modules matches modules, but layers_to_transform, layers_pattern, exclude_modules or "+
				"modules_to_save leave none of them", method)
		}
	}
	if spec.Target.Pattern != "" {
		return nil, noPattern(spec.Target.Pattern, sites)
	}
	return nil, noTarget("target_modules", spec.Target.List, sites)
}
