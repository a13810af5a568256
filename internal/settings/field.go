package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Field is one setting.
type Field struct {
	Name  string // in a document
	Type  string // "string", "integer", "number", "boolean", "list" or "object"
	Help  string
	Enum  []string // the accepted values; nil for any
	Items string   // the type of a list's elements, "" where they differ
	// Bounds are those of a number or of each number of a list; nil for other types.
	Bounds *Bounds
	Alias  string // a former name
	Since  string // the version that added it; "" for the first
	Index  []int  // of the Go field, for reflect.Value.FieldByIndex

	unset bool
}

// Chooser is a struct some of whose settings take the names of tables: by the setting's name, the names.
type Chooser interface{ Choices() map[string][]string }

// Of lists the settings of a struct type, in the order of its fields; those of an inline struct stand in its place.
func Of(t reflect.Type) []Field {
	choices := map[string][]string{}
	return of(t, nil, choices)
}

func of(t reflect.Type, at []int, choices map[string][]string) (out []Field) {
	if c, ok := reflect.New(t).Interface().(Chooser); ok {
		for k, v := range c.Choices() {
			choices[k] = v
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(at), i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case options == "inline" || f.Anonymous && name == "":
			out = append(out, of(f.Type, index, choices)...)
			continue
		case name == "":
			panic(fmt.Sprintf("settings: %s.%s has no name in its tag yaml", t, f.Name))
		}
		out = append(out, field(f, name, index, choices))
	}
	return out
}

func field(f reflect.StructField, name string, index []int, choices map[string][]string) Field {
	d := Field{Name: name, Type: TypeOf(f.Type), Help: f.Tag.Get("help"), Alias: f.Tag.Get("alias"),
		Since: f.Tag.Get("since"), Index: index,
		Enum: choices[name], unset: f.Tag.Get("unset") == "true"}
	if e, ok := f.Tag.Lookup("enum"); ok {
		d.Enum = strings.Split(e, ",")
	}
	number := d.Type
	if kind := f.Type.Kind(); kind == reflect.Slice && f.Type.Elem().Kind() != reflect.Interface && f.Type.Elem().Kind() != reflect.Map {
		d.Items = TypeOf(f.Type.Elem())
		number = d.Items
	}
	if number == "integer" || number == "number" {
		d.Bounds = parseBounds(f, number == "integer")
		d.Bounds.limit(f.Type.Kind())
	}
	return d
}

// TypeOf is what a document calls a Go type.
func TypeOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return "integer"
	}
	panic(fmt.Sprintf("settings: a setting of type %s", t))
}
