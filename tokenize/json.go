package tokenize

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// val is a JSON value and where it stands in the file.
type val struct {
	path string
	raw  jsontext.Value
}

func (v val) null() bool { return len(v.raw) == 0 || string(v.raw) == "null" }

func (v val) decode(to any) error {
	err := json.Unmarshal(v.raw, to, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if e := (*json.SemanticError)(nil); errors.As(err, &e) && e.Err == nil && e.GoType != nil && kinds[e.JSONKind] != "" &&
		wanted[e.GoType.Kind()] != "" {
		place := v.name()
		if e.JSONPointer != "" {
			place += " at " + string(e.JSONPointer)
		}
		return fmt.Errorf("%s is %s, and %s is needed", place, kinds[e.JSONKind], wanted[e.GoType.Kind()])
	}
	if err != nil && v.path != "" {
		return fmt.Errorf("%s: %w", v.path, err)
	}
	return err
}

// name is where the value stands, for messages.
func (v val) name() string { return cmp.Or(v.path, "it") }

// kinds and wanted name what stands in the file, and what a field is read into.
var (
	kinds = map[jsontext.Kind]string{'{': "an object", '[': "a list", '"': "a text", '0': "a number", 't': "true",
		'f': "false", 'n': "null"}

	wanted = map[reflect.Kind]string{reflect.Map: "an object", reflect.Struct: "an object", reflect.Slice: "a list",
		reflect.String: "a text", reflect.Bool: "true or false",
		reflect.Int: "a whole number", reflect.Int32: "a whole number", reflect.Float64: "a number"}
)

func (v val) list() ([]val, error) {
	if v.null() {
		return nil, nil
	}
	var raws []jsontext.Value
	if err := v.decode(&raws); err != nil {
		return nil, err
	}
	out := make([]val, len(raws))
	for i, r := range raws {
		out[i] = val{fmt.Sprintf("%s[%d]", v.path, i), r}
	}
	return out, nil
}

// obj is a JSON object of which every field must be asked for.
type obj struct {
	path string
	m    map[string]jsontext.Value
	err  error
}

func (v val) object() (*obj, error) {
	o := &obj{path: v.path}
	if err := v.decode(&o.m); err != nil {
		return nil, err
	}
	if o.m == nil {
		return nil, fmt.Errorf("%s is null, and an object is needed", v.name())
	}
	return o, nil
}

func (o *obj) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// take is a field, marked as known.
func (o *obj) take(key string) val {
	v := val{o.at(key), o.m[key]}
	delete(o.m, key)
	return v
}

func (o *obj) get(key string, need bool, to any) bool {
	v := o.take(key)
	if v.null() {
		if need && o.err == nil {
			o.err = fmt.Errorf("%s is missing", v.path)
		}
		return false
	}
	if err := v.decode(to); err != nil && o.err == nil {
		o.err = err
	}
	return true
}

func (o *obj) str(key string) (s string) {
	o.get(key, true, &s)
	return s
}

func (o *obj) strOr(key, def string) string {
	s := def
	o.get(key, false, &s)
	return s
}

func (o *obj) boolean(key string, def bool) bool {
	b := def
	o.get(key, false, &b)
	return b
}

func (o *obj) integer(key string) (n int) {
	o.get(key, true, &n)
	return n
}

// done is the first error, or one that names the fields nobody asked for.
func (o *obj) done() error {
	if o.err != nil {
		return o.err
	}
	if len(o.m) == 0 {
		return nil
	}
	var keys []string
	for k := range o.m {
		keys = append(keys, o.at(k))
	}
	sort.Strings(keys)
	return fmt.Errorf("unknown field %s; this tokenizer.json needs something that is not implemented", strings.Join(keys, ", "))
}

// unsupported names a component that the engine does not have.
func unsupported(path, kind, have string) error {
	return fmt.Errorf("%s: type %q is not supported (supported: %s)", path, kind, have)
}
