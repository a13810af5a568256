package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// object is a JSON object.
type object = map[string]any

// Schema is a JSON Schema (draft 2020-12) of a whole recipe file, by which an editor with a YAML language server completes and checks it:
// every section, the fields of each method, the settings of cleaning rules, steps of deduplication, optimisers, schedules and compressions.
// What goes together is the program's to check.
func Schema() []byte {
	sections := object{}
	for _, s := range table() {
		if s.fields == nil {
			sections[s.name] = methodSchema()
			continue
		}
		properties := object{}
		for _, f := range Fields() {
			if section, name := split(f.Path); section == s.name {
				properties[name] = keySchema(f)
				if f.Alias != "" {
					old := keySchema(f)
					old["deprecated"], old["description"] = true, "the former name of "+f.Name
					properties[f.Alias] = old
				}
			}
		}
		sections[s.name] = closed(properties)
	}
	t := sections["train"].(object)
	t["allOf"] = slices.Concat(textArgs("optim", "optim_args", train.OptimizerArgs()), textArgs("compression", "compression_args",
		train.CompressionArgs()), scheduleArgs(), objectiveArgs())
	out := closed(sections)
	out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	out["title"] = "adaptflow recipe"
	out["description"] = "settings over those of a template: adaptflow run TEMPLATE --recipe FILE"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(out); err != nil {
		panic(fmt.Sprintf("recipe: the schema cannot be written: %v", err))
	}
	return b.Bytes()
}

// closed is the schema of a mapping that has these keys and no others.
func closed(properties object) object {
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// text is the schema of a text: YAML's numbers are taken for what they look like.
func text() object { return object{"type": []string{"string", "number"}} }

func list(item object) object { return object{"type": "array", "items": item} }

// keySchema is the schema of a key of a section.
func keySchema(f Field) object {
	s := fieldSchema(f.Field)
	switch f.Path {
	case "data.sources":
		s["additionalProperties"] = object{"anyOf": []object{text(), list(text()), sourceSchema()}}
	case "data.columns":
		s["additionalProperties"] = text()
	case "prepare.clean":
		s["items"] = steps("rule", len(rules.Table), func(i int) (string, string, any) {
			return rules.Table[i].Name, rules.Table[i].Paper, rules.Table[i].New()
		})
		delete(s, "type")
		s["anyOf"] = []object{{"type": "array"}, {"enum": rules.Profiles()}} // clean: web
	case "prepare.dedupe":
		s["items"] = steps("rule", len(dedupe.Table), func(i int) (string, string, any) {
			return dedupe.Table[i].Name, dedupe.Table[i].Source, dedupe.Table[i].New()
		})
	case objectiveKey:
		s["enum"] = append([]string{""}, train.NamedObjectives()...)
	case measuresKey, formatsKey:
		rows := listed(f.Path)
		s["items"] = steps("name", len(rows), func(i int) (string, string, any) { return rows[i].Name, rows[i].Doc, rows[i].Settings })
	}
	if TakesAuto(f.Path) {
		s = object{"anyOf": []object{{"const": Auto}, s}, "description": f.Help}
	}
	s["default"] = f.Default
	return s
}

// fieldSchema is what the tags of a setting say.
func fieldSchema(f settings.Field) object {
	s := typed(f)
	if f.Type == "list" {
		item := object{}
		if f.Items != "" {
			item = typed(settings.Field{Type: f.Items, Bounds: f.Bounds})
		}
		s = list(item)
	}
	if f.Help != "" {
		s["description"] = f.Help
	}
	return s
}

// typed is the schema of a single value.
func typed(f settings.Field) object {
	switch f.Type {
	case "string":
		if f.Enum == nil {
			return text()
		}
		var values []any
		for _, e := range f.Enum {
			values = append(values, e)
			if e == "true" || e == "false" { // without quotation marks
				values = append(values, e == "true")
			}
		}
		return object{"enum": values}
	case "integer", "number":
		s := object{"type": f.Type}
		b := f.Bounds
		if b == nil {
			return s
		}
		if !math.IsInf(b.Low, 0) {
			s[map[bool]string{true: "exclusiveMinimum", false: "minimum"}[b.LowOpen]] = b.Low
		}
		if !math.IsInf(b.High, 0) {
			s[map[bool]string{true: "exclusiveMaximum", false: "maximum"}[b.HighOpen]] = b.High
		}
		if b.Or != nil {
			return object{"anyOf": []object{{"const": *b.Or}, s}}
		}
		return s
	}
	return object{"type": f.Type}
}

func sourceSchema() object {
	properties := object{}
	for _, f := range settings.Of(reflect.TypeFor[Source]()) {
		s := fieldSchema(f)
		if f.Type == "list" { // or the one element
			s = object{"anyOf": []object{text(), list(text())}, "description": f.Help}
		}
		properties[f.Name] = s
	}
	return closed(properties)
}

// steps is the schema of an element of a list of rows of a table, such as rules: a name, or a mapping of the name, under key, and its
// settings.
func steps(key string, n int, row func(i int) (name, source string, v any)) object {
	names, mappings := []string{}, []object{}
	for i := range n {
		name, source, v := row(i)
		names = append(names, name)
		properties := object{key: object{"const": name, "description": source}}
		if v != nil {
			s := reflect.ValueOf(v).Elem()
			for _, f := range settings.Of(s.Type()) {
				p := stepSchema(f, s.Type().FieldByIndex(f.Index).Type)
				p["default"] = s.FieldByIndex(f.Index).Interface()
				properties[f.Name] = p
			}
		}
		m := closed(properties)
		m["required"] = []string{key}
		mappings = append(mappings, m)
	}
	return object{"anyOf": append([]object{{"enum": names}}, mappings...)}
}

// stepSchema is the schema of a rule's setting. Elements that are structs may be written as mappings, or some as lists.
func stepSchema(f settings.Field, t reflect.Type) object {
	s := fieldSchema(f)
	delete(s, "maximum") // a rule judges its own numbers
	inner := t
	if t.Kind() == reflect.Slice {
		inner = t.Elem()
	}
	if inner.Kind() != reflect.Struct {
		return s
	}
	properties := object{}
	for _, g := range settings.Of(inner) {
		properties[g.Name] = stepSchema(g, inner.FieldByIndex(g.Index).Type)
	}
	form := object{"anyOf": []object{closed(properties), {"type": "array"}}}
	if t.Kind() == reflect.Slice {
		return object{"type": "array", "items": form, "description": f.Help}
	}
	return object{"anyOf": []object{closed(properties)}, "description": f.Help}
}

// methodSchema has the fields of the method that the document names, or of any where it leaves that to its template.
func methodSchema() object {
	all := map[string][]any{}
	var names []string
	var rows []object
	for _, r := range peft.Methods {
		properties := object{}
		for _, o := range r.Options() {
			s := maps.Clone(o.Schema)
			s["description"], s["default"] = o.Help, o.Default
			properties[o.Name] = s
			if !slices.ContainsFunc(all[o.Name], func(x any) bool { return reflect.DeepEqual(x.(object)["same"], o.Schema) }) {
				all[o.Name] = append(all[o.Name], object{"same": o.Schema, "help": o.Help})
			}
		}
		cased := []string{r.Type, strings.ToLower(r.Type)}
		names = append(names, cased...)
		properties["peft_type"] = object{"enum": cased, "description": r.Doc}
		rows = append(rows, object{"if": object{"properties": object{"peft_type": object{"enum": cased}},
			"required": []string{"peft_type"}}, "then": closed(properties)})
	}
	properties := object{}
	for name, forms := range all {
		var some []any
		for _, f := range forms {
			some = append(some, f.(object)["same"])
		}
		properties[name] = object{"anyOf": some, "description": forms[0].(object)["help"]}
	}
	properties["peft_type"] = object{"enum": names, "description": "the method: see docs/methods.md",
		"default": Default().Method["peft_type"]}
	s := closed(properties)
	s["allOf"] = rows
	return s
}

// rowsOf gives the condition and the consequence of each row of a table that a key of train names.
func rowsOf(key string, rows train.RowArgs, then func(args map[string]any) object) (out []object) {
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, object{"if": object{"properties": object{key: object{"const": row}}, "required": []string{key}},
			"then": object{"properties": then(rows[row])}})
	}
	return out
}

// textArgs holds a text "key=value,key=value" to the settings of the row.
func textArgs(key, args string, rows train.RowArgs) []object {
	return rowsOf(key, rows, func(known map[string]any) object {
		var names, helps []string
		for _, name := range slices.Sorted(maps.Keys(known)) {
			names = append(names, regexp.QuoteMeta(name))
			helps = append(helps, fmt.Sprintf("%s (%s, %v)", name, train.ArgHelps[name], known[name]))
		}
		pattern := `^[\s,]*$`
		if len(names) > 0 {
			pattern = `^[\s,]*((` + strings.Join(names, "|") + `)\s*=[^,=]*(,\s*|$))*$`
		}
		return object{args: object{"pattern": pattern, "description": strings.Join(helps, "; ")}}
	})
}

// scheduleArgs holds lr_scheduler_kwargs to the settings of the schedule.
func scheduleArgs() []object {
	return rowsOf("lr_scheduler_type", train.ScheduleArgs(), func(known map[string]any) object {
		properties := object{}
		for name, def := range known {
			properties[name] = object{"type": settings.TypeOf(reflect.TypeOf(def)), "default": def, "description": train.ArgHelps[name]}
		}
		return object{"lr_scheduler_kwargs": closed(properties)}
	})
}
