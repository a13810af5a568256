package recipe

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// Key is a key of a recipe at any depth, for people.
type Key struct {
	Path    string   `json:"path"` // dotted; NAME stands for a name of the recipe's own, a rule's or a schedule's name for itself
	Type    string   `json:"type"`
	Default any      `json:"default,omitempty"`
	Bounds  string   `json:"bounds,omitempty"` // in words
	Enum    []string `json:"enum,omitempty"`
	Help    string   `json:"help"`
	Alias   string   `json:"former_name,omitempty"`
	Since   string   `json:"since,omitempty"`
	// Of are the methods with the field, each with its default where these differ.
	Of []string `json:"of,omitempty"`
}

// AllKeys lists every key of a recipe: those of the sections, of named sources, cleaning rules, steps of deduplication, schedules,
// optimisers and compressions, and the fields of the methods.
func AllKeys() (out []Key) {
	for _, f := range Fields() {
		if f.Path == "train.max_steps" {
			out = append(out, methodKeys()...) // method stands before train in a recipe
		}
		out = append(out, keyOf(f.Path, f.Field, f.Default))
		switch f.Path {
		case objectiveKey:
			out[len(out)-1].Enum = objectives()
		case objectiveArgsKey, measuresKey, formatsKey:
			out = append(out, ownKeys(f.Path)...)
		case "data.sources":
			out = append(out, keysOf("data.sources.NAME", &Source{})...)
		case "prepare.clean":
			for _, e := range rules.Table {
				out = append(out, keysOf("prepare.clean."+e.Name, e.New())...)
			}
		case "prepare.dedupe":
			for _, e := range dedupe.Table {
				out = append(out, keysOf("prepare.dedupe."+e.Name, e.New())...)
			}
		case "train.optim_args":
			out = append(out, argKeys(f.Path, train.OptimizerArgs())...)
		case "train.compression_args":
			out = append(out, argKeys(f.Path, train.CompressionArgs())...)
		case "train.lr_scheduler_kwargs":
			out = append(out, argKeys(f.Path, train.ScheduleArgs())...)
		}
	}
	return out
}

// Matching are the keys that have the text in their path, or match it as a pattern of "*" and "?", "*" within a part; all where it is
// empty.
func Matching(pattern string) (out []Key, err error) {
	for _, k := range AllKeys() {
		ok := strings.Contains(k.Path, pattern)
		if strings.ContainsAny(pattern, "*?[") {
			if ok, err = path.Match(slashed(pattern), slashed(k.Path)); err != nil {
				return nil, fmt.Errorf("pattern %q: %w", pattern, err)
			}
		}
		if ok {
			out = append(out, k)
		}
	}
	return out, nil
}

func slashed(s string) string { return strings.ReplaceAll(s, ".", "/") }

func keyOf(path string, f settings.Field, def any) Key {
	k := Key{Path: path, Type: f.Type, Default: def, Enum: f.Enum, Help: f.Help, Alias: f.Alias, Since: f.Since}
	if f.Items != "" {
		k.Type = "list of " + f.Items + "s"
	}
	if f.Bounds != nil {
		k.Bounds = f.Bounds.Text()
	}
	return k
}

// keysOf are the keys of a struct, which v points to, with the values there as defaults.
func keysOf(prefix string, v any) (out []Key) {
	s := reflect.ValueOf(v).Elem()
	for _, f := range settings.Of(s.Type()) {
		out = append(out, keyOf(prefix+"."+f.Name, f, s.FieldByIndex(f.Index).Interface()))
	}
	return out
}

// argKeys are the settings of a table's rows.
func argKeys(prefix string, rows train.RowArgs) (out []Key) {
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		for _, name := range slices.Sorted(maps.Keys(rows[row])) {
			def := rows[row][name]
			out = append(out, Key{Path: prefix + "." + row + "." + name, Type: settings.TypeOf(reflect.TypeOf(def)), Default: def,
				Help: train.ArgHelps[name]})
		}
	}
	return out
}

// methodKeys are the fields of the methods: one key where methods have a field with one help.
func methodKeys() (out []Key) {
	types := []string{}
	at := map[string]int{}
	differ := map[int]bool{}
	for _, r := range peft.Methods {
		types = append(types, r.Type)
		for _, o := range r.Options() {
			if o.Name == "peft_type" || o.Schema["enum"] != nil { // what is not implemented is not a setting
				continue
			}
			id := o.Name + "\n" + o.Help
			i, ok := at[id]
			if !ok {
				i = len(out)
				at[id] = i
				out = append(out, Key{Path: "method." + o.Name, Type: kinds(o.Schema), Default: o.Default, Help: o.Help})
			}
			out[i].Of = append(out[i].Of, r.Type)
			differ[i] = differ[i] || !reflect.DeepEqual(out[i].Default, o.Default)
		}
	}
	for i := range out {
		if !differ[i] {
			continue
		}
		out[i].Default = nil
		for j, m := range out[i].Of {
			out[i].Of[j] = m + " " + Shown(defaultOf(m, strings.TrimPrefix(out[i].Path, "method.")))
		}
	}
	slices.SortStableFunc(out, func(a, b Key) int { return strings.Compare(a.Path, b.Path) })
	return append([]Key{{Path: "method.peft_type", Type: "string", Default: Default().Method["peft_type"], Enum: types,
		Help: "the method: see docs/methods.md"}}, out...)
}

func defaultOf(method, option string) any {
	for _, r := range peft.Methods {
		for _, o := range r.Options() {
			if r.Type == method && o.Name == option {
				return o.Default
			}
		}
	}
	return nil
}

// kinds names the types of a schema's values.
func kinds(s map[string]any) string {
	switch t := s["type"].(type) {
	case string:
		if items, ok := s["items"].(map[string]any); ok {
			return "list of " + kinds(items) + "s"
		}
		return t
	case []string:
		return strings.Join(t, " or ")
	}
	var out []string
	some, _ := s["anyOf"].([]map[string]any)
	for _, x := range some {
		if k := kinds(x); k != "null" {
			out = append(out, strings.TrimSuffix(k, " or null"))
		}
	}
	return strings.Join(out, " or ")
}

// Shown writes a value as a recipe has it, in one line.
func Shown(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
