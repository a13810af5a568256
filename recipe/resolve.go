package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Resolve lays the layers over the defaults, the later over the earlier, and validates the result. A layer that names another peft_type
// drops the method fields of the layers below.
func Resolve(layers ...Layer) (*Recipe, error) {
	merged := Layer{}
	def, err := yaml.Marshal(Default())
	if err != nil {
		panic(fmt.Sprintf("recipe: the defaults cannot be written: %v", err))
	}
	base, err := Parse("defaults", def)
	if err != nil {
		panic(fmt.Sprintf("recipe: the defaults cannot be read: %v", err))
	}
	var warnings []string
	for _, l := range append([]Layer{base}, layers...) {
		l, warned, err := l.renamed()
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, warned...)
		for section, kv := range l {
			if section == "method" && kv["peft_type"] != nil && merged["method"] != nil &&
				fmt.Sprint(kv["peft_type"]) != fmt.Sprint(merged["method"]["peft_type"]) {
				merged["method"] = nil
			}
			if merged[section] == nil {
				merged[section] = map[string]any{}
			}
			for k, v := range kv {
				merged[section][k] = v
			}
		}
	}
	if d, ok := merged["data"]["delimiter"].(string); ok {
		merged["data"]["delimiter"] = delimiterName(d)
	}
	auto, small := merged.takeAuto(base)
	text, err := yaml.Marshal(merged)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	var r Recipe
	if err := yaml.UnmarshalWithOptions(text, &r, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("recipe: %w", plain(err))
	}
	r.Warnings, r.Auto, r.Small = warnings, auto, small
	if err := r.normalise(); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return &r, nil
}

// normalise gives lists a value that prints as a list.
func (r *Recipe) normalise() error {
	var err error
	if r.Data.Sources, err = plainSources(r.Data.Sources); err != nil {
		return err
	}
	if r.Compare.LearningRates == nil {
		r.Compare.LearningRates = []float64{}
	}
	for _, l := range []*[]string{&r.Data.Input, &r.Data.EvalInput, &r.Data.GeneralInput, &r.Evaluate.Prompts, &r.Compare.Methods} {
		if *l == nil {
			*l = []string{}
		}
	}
	if r.Data.Columns == nil {
		r.Data.Columns = map[string]string{}
	}
	if r.Train.ReportTo == nil {
		r.Train.ReportTo = []string{}
	}
	if r.Train.LRSchedulerKwargs == nil {
		r.Train.LRSchedulerKwargs = map[string]any{}
	}
	if r.Train.ObjectiveArgs == nil {
		r.Train.ObjectiveArgs = map[string]any{}
	}
	for _, l := range []*settings.Named{&r.Evaluate.Measures, &r.Export.Formats} {
		if *l == nil {
			*l = settings.Named{}
		}
	}
	if s, ok := r.Method["peft_type"].(string); ok {
		r.Method["peft_type"] = strings.ToUpper(s)
	}
	return nil
}

// YAML is the canonical text of a resolved recipe: all fields in a fixed order, method fields sorted.
func (r *Recipe) YAML() []byte {
	b, err := yaml.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("recipe: cannot be written: %v", err))
	}
	return b
}

// Set makes a layer of one setting. key is a dotted path ("train.max_steps") or a last part that only one path has ("max_steps"); value
// is YAML ("3", "[a, b]"); where a list is wanted a comma separates its elements.
func Set(key, value string) (Layer, error) {
	path, err := lookup(key)
	if err != nil {
		return nil, err
	}
	section, name, _ := strings.Cut(path, ".")
	v, err := parseValue(path, value)
	if err != nil {
		return nil, err
	}
	l := Layer{section: {name: v}}
	if section == "method" || TakesAuto(path) && v == Auto {
		return l, nil
	}
	known, _, err := l.renamed()
	if err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(known)
	if err != nil {
		return nil, err
	}
	var r Recipe
	if err := yaml.UnmarshalWithOptions(text, &r, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("setting %s=%s: a value of type %s is wanted", key, shown(value), fieldType(path))
	}
	return l, nil
}

// delimiterName writes out what YAML would lose.
func delimiterName(s string) string {
	return strings.NewReplacer("\t", "tab", "\n", `\n`, "\r", `\r`).Replace(s)
}

func fieldType(path string) string {
	if f := find(path); f != nil {
		return f.Type
	}
	return ""
}

func parseValue(path, value string) (any, error) {
	if TakesAuto(path) && value == Auto {
		return Auto, nil
	}
	switch fieldType(path) {
	case "string":
		return value, nil
	case "list":
		if strings.TrimSpace(value) == "" {
			return []string{}, nil
		}
		if strings.HasPrefix(strings.TrimSpace(value), "[") {
			if slices.Contains([]string{"prepare.clean", "prepare.dedupe", "evaluate.measures", "export.formats"}, path) {
				var out []any
				if err := decode(value, &out); err != nil {
					return nil, fmt.Errorf("setting %s=%s: %w", path, shown(value), err)
				}
				return out, nil
			}
			var out []string
			if err := decode(value, &out); err != nil {
				return nil, fmt.Errorf("setting %s=%s: %w", path, shown(value), err)
			}
			return out, nil
		}
		if path == "evaluate.prompts" { // a prompt may have commas
			return []string{value}, nil
		}
		return strings.Split(value, ","), nil
	}
	var v any
	if err := decode(value, &v); err != nil {
		return nil, fmt.Errorf("setting %s=%s: %w", path, shown(value), err)
	}
	return v, whole(path, fieldType(path), v)
}

// shown is a setting's value for an error's line.
func shown(value string) string {
	if len(value) > 100 {
		return value[:97] + "..."
	}
	return value
}
