package train

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
)

// NamedObjective says what is learnt: a row of the table of objectives, with its settings; empty for what the model and the teachers imply.
type NamedObjective struct {
	Objective     string         `yaml:"objective" json:"objective,omitempty" since:"0.2" help:"what is learnt: dpo, cpo, orpo and reward of pairs of answers, kto of answers with a label, grpo, rloo and online_dpo of answers of the model's own with rewards, gkd of a teacher's distributions over answers, some of them the model's own, or an objective that a program of another module has registered; empty for the next token, the class or the teachers' distributions, as the model and the teachers imply"`
	ObjectiveArgs map[string]any `yaml:"objective_args" json:"objective_args,omitempty" since:"0.2" help:"settings of the objective that is named"`
}

// Check says what is wrong with the name, or with the settings. What the model and the teachers imply is not named.
func (n *NamedObjective) Check() error {
	if n.Objective == "" {
		if len(n.ObjectiveArgs) > 0 {
			return errors.New("objective_args: they are the settings of an objective: name it in objective")
		}
		return nil
	}
	names := NamedObjectives()
	if len(names) == 0 {
		return fmt.Errorf("objective is %q; it must be empty: the program has no objective of its own", n.Objective)
	}
	if !slices.Contains(names, n.Objective) {
		return fmt.Errorf("objective is %q; it must be empty or one of %s", n.Objective, strings.Join(names, ", "))
	}
	if _, err := NewObjective(n.Objective, n.ObjectiveArgs); err != nil {
		return fmt.Errorf("objective_args: %w", err)
	}
	return nil
}

// Answers is the kind of the shards of an objective that compares answers, or samples them; empty for others, and for one whose
// settings are wrong.
func (n *NamedObjective) Answers() string {
	if n.Objective == "" {
		return ""
	}
	o, err := NewObjective(n.Objective, n.ObjectiveArgs)
	if err != nil {
		return ""
	}
	if _, ok := o.(Sampler); ok {
		return datasets.KindPrompt
	}
	if k := o.Spec().Kind; k == datasets.KindPreference || k == datasets.KindUnpaired {
		return k
	}
	return ""
}

// Samples says whether the objective learns from answers that the model samples.
func (n *NamedObjective) Samples() bool { return n.Answers() == datasets.KindPrompt }

// NamedObjectives are the names of the objectives that nothing implies, in the table's order.
func NamedObjectives() (names []string) {
	for _, r := range Objectives {
		if r.Implied == nil {
			names = append(names, r.Name)
		}
	}
	return names
}

// ObjectiveSetting is a setting of an objective: a field of its struct with a name in the tag json, the default, and what the tag help
// says.
type ObjectiveSetting struct {
	Name    string
	Default any
	Help    string
}

// ObjectiveSettings are the settings of the objectives that nothing implies, by the objective's name, in the order of their fields.
func ObjectiveSettings() map[string][]ObjectiveSetting {
	out := map[string][]ObjectiveSetting{}
	for _, r := range Objectives {
		if r.Implied != nil {
			continue
		}
		out[r.Name] = nil
		v := reflect.Indirect(reflect.ValueOf(r.New()))
		if v.Kind() != reflect.Struct {
			continue
		}
		for _, f := range reflect.VisibleFields(v.Type()) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
				continue
			}
			help := f.Tag.Get("help")
			if help == "" {
				help = "a setting of the objective " + r.Name
			}
			out[r.Name] = append(out[r.Name], ObjectiveSetting{name, v.FieldByIndex(f.Index).Interface(), help})
		}
	}
	return out
}
