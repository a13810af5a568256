package recipe

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/settings"
)

// Field describes one key of a recipe, for help, schemas and settings.
type Field struct {
	Path string // dotted: "train.max_steps"
	settings.Field
	Default any
}

// section is a top-level key of a recipe. fields is nil for method, whose keys are the method's.
type section struct {
	name   string
	index  int // of the field of Recipe
	fields []settings.Field
}

// table lists the sections in the order of a recipe.
var table = sync.OnceValue(func() (out []section) {
	t := reflect.TypeFor[Recipe]()
	for i := range t.NumField() {
		f := t.Field(i)
		s := section{name: f.Tag.Get("yaml"), index: i}
		if s.name == "-" {
			continue
		}
		if f.Type.Kind() == reflect.Struct {
			s.fields = settings.Of(f.Type)
		}
		out = append(out, s)
	}
	return out
})

// sections are the top-level keys in the order of a recipe.
func sections() (out []string) {
	for _, s := range table() {
		out = append(out, s.name)
	}
	return out
}

// fields lists every key with its default.
var fields = sync.OnceValue(func() (out []Field) {
	def := Default()
	v := reflect.ValueOf(&def).Elem()
	for _, s := range table() {
		for _, f := range s.fields {
			out = append(out, Field{Path: s.name + "." + f.Name, Field: f, Default: v.Field(s.index).FieldByIndex(f.Index).Interface()})
		}
	}
	return out
})

// Fields lists every key of a recipe but those of method, which belong to the method.
func Fields() []Field { return fields() }

// find is the key of a path, nil where there is none.
func find(path string) *Field {
	for i, f := range fields() {
		if f.Path == path || f.Alias != "" && f.Path == strings.TrimSuffix(path, "."+f.Alias)+"."+f.Name {
			return &fields()[i]
		}
	}
	return nil
}

// lookup finds the field that a key of "--set" names: a dotted path, or a last part that only one path has.
func lookup(key string) (string, error) {
	if section, rest, ok := strings.Cut(key, "."); ok {
		if section == "method" && rest != "" || find(key) != nil {
			return key, nil
		}
		return "", unknownKey(key, "")
	}
	var found []string
	for _, f := range Fields() {
		for _, name := range []string{f.Name, f.Alias} {
			if name == key {
				found = append(found, f.Path[:strings.Index(f.Path, ".")+1]+name)
			}
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
			names = append(names, f.Name)
		}
	}
	names = append(names, strings.Fields(extra)...)
	sort.Strings(names)
	return fmt.Errorf("unknown setting %q; the nearest known one is %q", shown(key), nearest.Name(key, names))
}

// field is a field's value.
func (r *Recipe) field(path string) reflect.Value {
	name, key, _ := strings.Cut(path, ".")
	for _, s := range table() {
		if s.name != name {
			continue
		}
		for _, f := range s.fields {
			if f.Name == key {
				return reflect.ValueOf(r).Elem().Field(s.index).FieldByIndex(f.Index)
			}
		}
	}
	panic(fmt.Sprintf("recipe: no key %s", path))
}

// Value is what a key has; of the method's keys there are those that the recipe sets.
func (r *Recipe) Value(path string) (any, bool) {
	if name, ok := strings.CutPrefix(path, "method."); ok {
		v, ok := r.Method[name]
		return v, ok
	}
	return r.field(path).Interface(), true
}

// text is a field's value as text.
func (r *Recipe) text(path string) string { return fmt.Sprint(r.field(path).Interface()) }
