package recipe

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/settings"
)

// Source is a named part of the input: a language, a pair of languages, a corpus. In a recipe it is a mapping of these keys, or its files
// alone.
type Source struct {
	Input              []string `yaml:"input" help:"files or globs"`
	EvalInput          []string `yaml:"eval_input" help:"held-out text of the same kind; when no source has any, a part of the input is held out"`
	datasets.MixSource `yaml:",inline"`
	Translation        []string `yaml:"translation" help:"languages of rows of a text and its translation, from and to, as [en, de]"`
}

// sourceKeys are the keys of a source, as they are written.
var sourceKeys = func() (out []string) {
	for _, f := range settings.Of(reflect.TypeFor[Source]()) {
		out = append(out, f.Name)
	}
	return out
}()

// plainSources writes each source as a mapping with lists of files.
func plainSources(in map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		m := map[string]any{}
		switch v := in[name].(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if !slices.Contains(sourceKeys, k) {
					return nil, fmt.Errorf("data.sources.%s: unknown key %q; the nearest known one is %q", name, k, nearest.Name(k,
						sourceKeys))
				}
				m[k] = v[k]
			}
		default:
			m["input"] = v
		}
		for _, k := range []string{"input", "eval_input", "translation"} {
			switch v := m[k].(type) {
			case nil:
				delete(m, k)
			case string:
				m[k] = []any{v}
			}
		}
		out[name] = m
	}
	return out, nil
}

// Named lists the sources by name.
func (d *Data) Named() ([]Source, error) {
	var out []Source
	for _, name := range slices.Sorted(maps.Keys(d.Sources)) {
		b, err := yaml.Marshal(d.Sources[name])
		if err != nil {
			return nil, fmt.Errorf("data.sources.%s: %w", name, err)
		}
		var s Source
		if err := yaml.UnmarshalWithOptions(b, &s, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("data.sources.%s: %w", name, plain(err))
		}
		s.Name = name
		out = append(out, s)
	}
	return out, nil
}

// Held says whether held-out text is named.
func (d *Data) Held() bool {
	named, _ := d.Named()
	return len(d.EvalInput) > 0 || slices.ContainsFunc(named, func(s Source) bool { return len(s.EvalInput) > 0 })
}

func (d *Data) validateSources() error {
	named, err := d.Named()
	if err != nil {
		return err
	}
	m := d.Mix
	m.Sources = nil
	for _, s := range named {
		if d.Held() && len(s.EvalInput) == 0 {
			return fmt.Errorf("data.sources.%s: it has no eval_input and another source has: name one in each, or in none, and a part of "+
				"the input is held out", s.Name)
		}
		if len(s.Input) == 0 {
			return fmt.Errorf("data.sources.%s: input must name at least one file", s.Name)
		}
		if err := (datasets.Options{Translation: s.Translation}).Validate(); err != nil {
			return fmt.Errorf("data.sources.%s: %w", s.Name, err)
		}
		m.Sources = append(m.Sources, s.MixSource)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}
