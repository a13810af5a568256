package peft

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Option is a field of a method's configuration, as a recipe's section method and adapter_config.json name it.
type Option struct {
	Name    string
	Help    string
	Default any            // as JSON has it
	Schema  map[string]any // a JSON Schema of its values
}

// Options lists the fields of a method's configuration by name. Of fields of HF's that are not implemented the schema accepts what is: HF's
// default.
func (r Row) Options() (out []Option) {
	m := r.New()
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(m.Config()).Elem(), fields)
	own := helpTags(reflect.TypeOf(m.Config()).Elem())
	for name, v := range fields {
		out = append(out, Option{Name: name, Help: cmp.Or(own[name], r.help(name)), Default: plain(v.Interface()),
			Schema: schemaOf(v.Type())})
	}
	for _, unused := range []map[string]any{commonUnused, unusedOf(m)} {
		for name, def := range unused {
			name = strings.TrimPrefix(name, "-")
			out = append(out, Option{Name: name, Help: "not implemented: HF's default alone is accepted", Default: def,
				Schema: map[string]any{"enum": []any{def}}})
		}
	}
	slices.SortFunc(out, func(a, b Option) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// helpTags are the tags help of a configuration's fields, by name.
func helpTags(t reflect.Type) map[string]string {
	out := map[string]string{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			maps.Copy(out, helpTags(f.Type))
		} else if h := f.Tag.Get("help"); h != "" {
			out[f.Tag.Get("json")] = h
		}
	}
	return out
}

// help is the line of the table of helps: the method's own, or that of all methods with the field.
func (r Row) help(name string) string {
	if s, ok := helps[r.Type+"."+name]; ok {
		return s
	}
	return helps[name]
}

// plain is a value as JSON has it.
func plain(v any) (out any) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("peft: %T: %v", v, err))
	}
	return out
}

// one is a schema of values of some types, several the schema of what any of some schemas accepts.
func one(types ...string) map[string]any {
	if len(types) == 1 {
		return map[string]any{"type": types[0]}
	}
	return map[string]any{"type": types}
}

func several(schemas ...map[string]any) map[string]any { return map[string]any{"anyOf": schemas} }

func arrayOf(item map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": item}
}

func objectOf(value map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": value}
}

// forms are the types that read more than one form of JSON.
var forms = map[reflect.Type]map[string]any{
	reflect.TypeFor[Names]():           several(one("string", "null"), arrayOf(one("string"))),
	reflect.TypeFor[Ints]():            several(one("integer", "null"), arrayOf(one("integer"))),
	reflect.TypeFor[Patterns]():        several(one("null"), objectOf(one("number"))),
	reflect.TypeFor[Tokens]():          several(one("null"), arrayOf(one("integer")), objectOf(arrayOf(one("integer")))),
	reflect.TypeFor[Save]():            several(one("string", "null"), arrayOf(one("string"))),
	reflect.TypeFor[ReductionFactor](): several(one("number"), objectOf(one("number"))),
	reflect.TypeFor[InitWeights]():     one("boolean", "string"),
	reflect.TypeFor[InitNamed]():       one("boolean", "string"),
	reflect.TypeFor[BnScaling]():       one("number", "string"),
}

// schemaOf is a JSON Schema of what a field of the type reads.
func schemaOf(t reflect.Type) map[string]any {
	if s, ok := forms[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.String:
		return one("string")
	case reflect.Bool:
		return one("boolean")
	case reflect.Float64:
		return one("number")
	case reflect.Int, reflect.Int32, reflect.Uint64:
		return one("integer")
	case reflect.Interface:
		return map[string]any{}
	case reflect.Pointer:
		return several(one("null"), schemaOf(t.Elem()))
	case reflect.Slice:
		return several(one("null"), arrayOf(schemaOf(t.Elem())))
	case reflect.Array:
		return arrayOf(schemaOf(t.Elem()))
	case reflect.Map:
		return several(one("null"), objectOf(schemaOf(t.Elem())))
	case reflect.Struct:
		fields := map[string]reflect.Value{}
		collect(reflect.New(t).Elem(), fields)
		properties := map[string]any{}
		for name, v := range fields {
			properties[name] = schemaOf(v.Type())
		}
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	}
	panic(fmt.Sprintf("peft: a field of type %s", t))
}
