package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Named is a list of rows of a table, with the settings of each: its name under the key "name". In a document a bare name is a row at its
// defaults.
type Named []map[string]any

// Row is a row that such a list may name.
type Row struct {
	Name, Doc string
	// Settings are the row's at their defaults: a pointer to a struct with the tags of this package, and each name in a tag json too; nil
	// for none.
	Settings any
}

// UnmarshalYAML reads names, and mappings of settings.
func (n *Named) UnmarshalYAML(read func(any) error) (err error) {
	*n, err = ReadRows(read, "name")
	return err
}

// ReadRows reads a list of rows from a document, each its name, or a mapping that has the name under key and settings beside it.
func ReadRows(read func(any) error, key string) ([]map[string]any, error) {
	var list []any
	if err := read(&list); err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for i, x := range list {
		switch x := x.(type) {
		case string:
			out = append(out, map[string]any{key: x})
		case map[string]any:
			out = append(out, x)
		default:
			return nil, fmt.Errorf("[%d] is %v; write a name, or {%s: NAME} with settings", i, x, key)
		}
	}
	return out, nil
}

// at is where a row stands in the list, -1 where it does not.
func (n Named) at(name string) int {
	return slices.IndexFunc(n, func(row map[string]any) bool { return row["name"] == name })
}

// Has says whether the list names a row.
func (n Named) Has(name string) bool { return n.at(name) >= 0 }

// Check says what is wrong with the list: names that are not those of the rows, or are there twice, and settings. what is a row's kind, as
// "measure".
func (n Named) Check(what string, rows []Row) error {
	for i, entry := range n {
		name, ok := entry["name"].(string)
		at := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
		var known []string
		for _, r := range rows {
			known = append(known, r.Name)
		}
		switch {
		case !ok:
			return fmt.Errorf("[%d]: a %s has no name: write - name: NAME, with its settings beside", i, what)
		case at < 0 && len(known) == 0:
			return fmt.Errorf("[%d]: the %s %q is unknown: the program has none of its own", i, what, name)
		case at < 0:
			return fmt.Errorf("[%d]: the %s %q is unknown; it is one of %s", i, what, name, strings.Join(known, ", "))
		case n.at(name) != i:
			return fmt.Errorf("[%d]: the %s %s is there twice", i, what, name)
		}
		if err := n.Over(name, rows[at].Settings); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

// Over lays what the list says of a row over its settings (nil for a row without any) and checks them. Where the list does not name the row
// they stay as they are.
func (n Named) Over(name string, into any) error {
	at := n.at(name)
	if at < 0 {
		return nil
	}
	said := maps.Clone(n[at])
	delete(said, "name")
	if into == nil {
		for key := range said {
			return fmt.Errorf("%s: unknown key %q; it has no settings", name, key)
		}
		return nil
	}
	if err := Strict(said, into, name); err != nil {
		return err
	}
	return In(name, Check(into))
}

var unknownField = regexp.MustCompile(`unknown field "(.*)"`)

// Strict lays what is said of a row over its settings, by their tags json. An unknown key, or a value of the wrong type, is an error that
// names it and the row.
func Strict(said map[string]any, into any, name string) error {
	raw, err := json.Marshal(said)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
			return fmt.Errorf("%s: unknown key %q; its keys are %v", name, m[1], keys(into))
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// keys are the settings that a row has.
func keys(row any) []string {
	raw, err := json.Marshal(row)
	if err != nil {
		return nil
	}
	var m map[string]any
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}

// MustDescribe panics where a row's settings are not as [Row] says, which is a fault of the program.
func (r *Row) MustDescribe(caller string) {
	if r.Settings == nil {
		return
	}
	t := reflect.TypeOf(r.Settings)
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("%s: the settings of %s are a %s, and must be a pointer to a struct", caller, r.Name, t))
	}
	for _, f := range Of(t.Elem()) {
		tag := t.Elem().FieldByIndex(f.Index).Tag
		if name, _, _ := strings.Cut(tag.Get("json"), ","); name != f.Name || f.Name == "name" || f.Help == "" {
			panic(fmt.Sprintf("%s: the setting %s of %s must have its name, which is not \"name\", in the tags yaml and json, and a tag "+
				"help", caller, f.Name, r.Name))
		}
	}
	if err := Check(r.Settings); err != nil {
		panic(fmt.Sprintf("%s: a default of %s: %v", caller, r.Name, err))
	}
}
