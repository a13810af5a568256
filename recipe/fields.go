package recipe

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/train"
)

// Field describes one key of a recipe, for help, schemas and settings.
type Field struct {
	Path string   // dotted: "train.max_steps"
	Type string   // "string", "integer", "number", "boolean", "list" or "object"
	Help string   // one line
	Enum []string // accepted values; nil for any
}

// sections are the top-level keys in the order of a recipe.
var sections = func() []string {
	var out []string
	t := reflect.TypeFor[Recipe]()
	for i := range t.NumField() {
		out = append(out, t.Field(i).Tag.Get("yaml"))
	}
	return out
}()

// tables are the fields whose accepted values are the rows of a table.
var tables = map[string]func() []string{"train.optim": train.Optimizers, "train.lr_scheduler_type": train.Schedules, "train.compression": train.Compressions}

// Fields lists every key of a recipe but those of method, which belong to the method.
func Fields() []Field {
	var out []Field
	t := reflect.TypeFor[Recipe]()
	for i := range t.NumField() {
		s := t.Field(i)
		if s.Type.Kind() != reflect.Struct {
			continue
		}
		for j := range s.Type.NumField() {
			f := s.Type.Field(j)
			d := Field{Path: s.Tag.Get("yaml") + "." + f.Tag.Get("yaml"), Type: typeName(f.Type), Help: f.Tag.Get("help")}
			if e, ok := f.Tag.Lookup("enum"); ok {
				d.Enum = strings.Split(e, ",")
			}
			if e, ok := tables[d.Path]; ok {
				d.Enum = e()
			}
			out = append(out, d)
		}
	}
	return out
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "object"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "integer"
	}
	panic(fmt.Sprintf("recipe: a field of type %s", t))
}

// lookup finds the field that a key of "--set" names: a dotted path, or a last part that only one path has.
func lookup(key string) (string, error) {
	if section, rest, ok := strings.Cut(key, "."); ok {
		if section == "method" && rest != "" {
			return key, nil
		}
		for _, f := range Fields() {
			if f.Path == key {
				return key, nil
			}
		}
		return "", unknownKey(key, "")
	}
	var found []string
	for _, f := range Fields() {
		if strings.HasSuffix(f.Path, "."+key) {
			found = append(found, f.Path)
		}
	}
	switch len(found) {
	case 0:
		return "", unknownKey(key, "")
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("setting %q could be any of %s; write the whole path", key, strings.Join(found, ", "))
}

// unknownKey names the nearest key among the fields and their last parts.
func unknownKey(key, extra string) error {
	var names []string
	for _, f := range Fields() {
		if strings.Contains(key, ".") {
			names = append(names, f.Path)
		} else {
			names = append(names, f.Path[strings.Index(f.Path, ".")+1:])
		}
	}
	names = append(names, strings.Fields(extra)...)
	sort.Strings(names)
	return fmt.Errorf("unknown setting %q; the nearest known one is %q", shown(key), nearest.Name(key, names))
}

// field is a field's value.
func (r *Recipe) field(path string) reflect.Value {
	v := reflect.ValueOf(r).Elem()
	for _, part := range strings.Split(path, ".") {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") == part {
				v = v.Field(i)
				break
			}
		}
	}
	return v
}

// text is a field's value as text.
func (r *Recipe) text(path string) string { return fmt.Sprint(r.field(path).Interface()) }
