package recipe

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/train/preference"
)

// The keys that take rows which a program of another module has registered. Cleaning rules and methods of its own stand among those that
// are there. The tables are read at every call: a program registers when it begins.
const (
	objectiveKey     = "train.objective"
	objectiveArgsKey = "train.objective_args"
	measuresKey      = "evaluate.measures"
	formatsKey       = "export.formats"
)

// listed are the rows that a list of names may have, nil for a key that is not such a list.
func listed(path string) []settings.Row {
	switch path {
	case measuresKey:
		return measure.Own()
	case formatsKey:
		return export.Own()
	}
	return nil
}

// ownChecks holds what a recipe names to the rows that are there.
func (r *Recipe) ownChecks() error {
	if err := r.Train.NamedObjective.Check(); err != nil {
		return fmt.Errorf("train.%w", err)
	}
	if err := r.Evaluate.CheckMeasures(); err != nil {
		return fmt.Errorf(measuresKey+"%w", err)
	}
	if err := r.Export.CheckFormats(); err != nil {
		return fmt.Errorf(formatsKey+"%w", err)
	}
	many := r.Data.KeyColumn != "" || len(r.Compare.Methods) > 0
	for _, c := range []struct {
		key  string
		bad  bool
		want string
	}{
		{objectiveKey, r.Train.Objective != "" && r.Train.Objective != "gkd" && len(r.Train.Teachers) > 0,
			"must be empty where train.teacher_model_name_or_path names teachers: learning from them is an objective"},
		{measuresKey, len(r.Evaluate.Measures) > 0 && (r.Data.KeyColumn != "" || r.Continual.IncrementFiles > 0),
			"must be empty in training by key, which measures nothing, and in continual learning, which measures perplexity alone"},
		{formatsKey, len(r.Export.Formats) > 0 && (many || r.Continual.IncrementFiles > 0),
			"must be empty in training by key, comparisons and continual learning: one adapter is written in other formats"},
	} {
		if c.bad {
			return &settings.Error{Key: c.key, Value: r.text(c.key), Want: c.want}
		}
	}
	return nil
}

// ownKeys are the keys below a key that takes registered rows.
func ownKeys(path string) (out []Key) {
	for _, row := range listed(path) {
		if row.Settings != nil {
			out = append(out, keysOf(path+"."+row.Name, row.Settings)...)
		}
	}
	if path == objectiveArgsKey {
		all := train.ObjectiveSettings()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for _, s := range all[name] {
				out = append(out, Key{Path: path + "." + name + "." + s.Name, Type: settings.TypeOf(reflect.TypeOf(s.Default)),
					Default: s.Default, Help: s.Help})
			}
		}
	}
	return out
}

// objectives are the accepted values of train.objective; nil where there is none but the empty one.
func objectives() []string {
	if names := train.NamedObjectives(); len(names) > 0 {
		return append([]string{""}, names...)
	}
	return nil
}

// objectiveArgs holds objective_args to the settings of the objective.
func objectiveArgs() (out []object) {
	all := train.ObjectiveSettings()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		properties := object{}
		for _, s := range all[name] {
			properties[s.Name] = object{"type": jsonType(s.Default), "default": s.Default, "description": s.Help}
		}
		out = append(out, object{"if": object{"properties": object{"objective": object{"const": name}}, "required": []string{"objective"}},
			"then": object{"properties": object{"objective_args": closed(properties)}}})
	}
	return out
}

// jsonType is the JSON Schema's type of a setting of an objective.
func jsonType(v any) any {
	if _, ok := v.(preference.Names); ok {
		return []string{"array", "string"}
	}
	if t := settings.TypeOf(reflect.TypeOf(v)); t != "list" {
		return t
	}
	return "array"
}
