package peft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
)

// peftVersion is the version of HF PEFT whose formats this package follows.
const peftVersion = "0.21.2"

// Common are the fields that every HF configuration has.
type Common struct {
	PeftType      string  `json:"peft_type"`
	TaskType      *string `json:"task_type"`
	BaseModel     *string `json:"base_model_name_or_path"`
	Revision      *string `json:"revision"`
	PeftVersion   string  `json:"peft_version"`
	InferenceMode bool    `json:"inference_mode"`
}

func (c *Common) common() *Common { return c }

// commonOf are the common fields of a method's configuration.
func commonOf(m Method) *Common {
	c, ok := m.Config().(interface{ common() *Common })
	if !ok {
		panic(fmt.Sprintf("peft: %s: the configuration %T does not embed peft.Common", m.Type(), m.Config()))
	}
	return c.common()
}

// commonUnused are HF's common fields that only their default value is accepted for.
var commonUnused = map[string]any{"auto_mapping": nil}

// inert are fields that change nothing of an adapter that was trained, whatever their value: how its class is found, how it was started or
// placed, and, in the first versions, whether evaluating merged it.
var inert = []string{"auto_mapping", "corda_config", "lora_ga_config", "megatron_core", "merge_weights", "runtime_config"}

// decodeConfig decodes a configuration into cfg, a pointer to a struct that holds HF's defaults. unused are HF's fields
// that are known but not implemented, with their defaults; a key that begins with "-" is accepted but never written.
//
// Of an opened folder, which any version of HF PEFT may have written, ignored are the fields that were passed over: those that no version
// known here has and that are null, false, 0 or empty, which is how PEFT adds a feature that an adapter does not use, and inert ones. PEFT
// drops every unknown field with a warning; here one with a value is an error, since it may change what the adapter computes.
func decodeConfig(what string, raw []byte, cfg any, unused map[string]any, opened bool) (ignored []string, err error) {
	known := map[string]any{}
	for _, m := range []map[string]any{commonUnused, unused} {
		for k, v := range m {
			known[strings.TrimPrefix(k, "-")] = v
		}
	}
	if opened {
		if raw, ignored, err = passOver(raw, cfg, known); err != nil {
			return nil, fmt.Errorf("peft: %s: %w", what, err)
		}
	}
	if err := decodeFields(raw, cfg, known); err != nil {
		return nil, fmt.Errorf("peft: %s: %w", what, err)
	}
	return ignored, nil
}

// passOver takes the fields out of an opened folder's configuration that may be ignored, and names them in their order.
func passOver(raw []byte, cfg any, known map[string]any) (left []byte, ignored []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, nil, fmt.Errorf("the configuration is not a JSON object: %w", err)
	}
	have := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), have)
	for _, name := range sortedKeys(fields) {
		if _, ok := have[name]; ok {
			continue
		}
		var v any
		if err := json.Unmarshal(fields[name], &v); err != nil {
			return nil, nil, fmt.Errorf("field %s: %w", name, err)
		}
		def, ok := known[name]
		if ok && (empty(v) || reflect.DeepEqual(v, def)) || !slices.Contains(inert, name) && (ok || !off(v)) {
			continue // decodeFields judges it
		}
		ignored = append(ignored, name)
		delete(fields, name)
	}
	left, err = json.Marshal(fields)
	return left, ignored, err
}

// off says whether a value is one by which a feature that is not known is not used.
func off(v any) bool { return empty(v) || v == 0.0 || v == "" }

// decodeFields decodes an object over what the struct cfg points to holds. known are fields that it lacks, with the only values they may
// have.
func decodeFields(raw []byte, cfg any, known map[string]any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("the configuration is not a JSON object: %w", err)
	}
	targets := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), targets)
	for _, name := range sortedKeys(fields) {
		if f, ok := targets[name]; ok {
			d := json.NewDecoder(bytes.NewReader(fields[name]))
			if err := d.Decode(f.Addr().Interface()); err != nil {
				return fmt.Errorf("field %s = %s: %w", name, shortened(fields[name]), plainly(err, f.Type()))
			}
			if err := countable(f); err != nil && !anyNumber[name] {
				return fmt.Errorf("field %s = %s: %w", name, shortened(fields[name]), err)
			}
			continue
		}
		def, ok := known[name]
		if !ok {
			names := append(sortedKeys(targets), sortedKeys(known)...)
			return fmt.Errorf("unknown field %q = %s; the nearest known one is %q", name, shortened(fields[name]),
				nearest.Name(name, names))
		}
		var v any
		if err := json.Unmarshal(fields[name], &v); err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
		if !empty(v) && !reflect.DeepEqual(v, def) {
			return fmt.Errorf("field %s = %s is Hugging Face PEFT's, but adaptflow does not have it; remove it or use its default %s",
				name, fields[name], encode(def, ""))
		}
	}
	return nil
}

// shortened is the text of a value for an error, on one line.
func shortened(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil || b.Len() > 60 {
		return "{…}"
	}
	return b.String()
}

// mostCount bounds the whole numbers of a configuration, ranks and sizes, so that products of two of them still are numbers. No model has
// such dimensions.
const mostCount = 1 << 30

// anyNumber are the fields that count nothing: seeds, and steps of a schedule.
var anyNumber = map[string]bool{"random_seed": true, "total_step": true, "tinit": true, "tfinal": true, "deltaT": true,
	"label_mask_value": true}

// countable refuses whole numbers out of all proportion, in a value of any kind.
func countable(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		if n := v.Int(); n > mostCount || n < -mostCount {
			return fmt.Errorf("%d is out of proportion; the largest number here is %d", n, mostCount)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return countable(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := countable(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := countable(it.Value()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				if err := countable(v.Field(i)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// plainly says an error of decoding a field without Go's words for its type.
func plainly(err error, field reflect.Type) error {
	var e *json.UnmarshalTypeError
	if !errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("want %s", typeWords(field, false))
}

// typeWords are a field's type in words, of one value or of several.
func typeWords(t reflect.Type, several bool) string {
	words := [2]string{"a value of another kind", "values of another kind"}
	switch t.Kind() {
	case reflect.Pointer:
		return typeWords(t.Elem(), several)
	case reflect.Int, reflect.Int32, reflect.Int64:
		words = [2]string{"a whole number", "whole numbers"}
	case reflect.Uint, reflect.Uint64:
		words = [2]string{"a whole number of at least 0", "whole numbers of at least 0"}
	case reflect.Float32, reflect.Float64:
		words = [2]string{"a number", "numbers"}
	case reflect.Bool:
		words = [2]string{"true or false", "values true or false"}
	case reflect.String:
		words = [2]string{"a string", "strings"}
	case reflect.Slice, reflect.Array:
		words = [2]string{"a list of " + typeWords(t.Elem(), true), "lists of " + typeWords(t.Elem(), true)}
	case reflect.Map:
		words = [2]string{"an object of " + typeWords(t.Elem(), true), "objects of " + typeWords(t.Elem(), true)}
	}
	if several {
		return words[1]
	}
	return words[0]
}

// empty says whether a value is one that switches a feature off.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// inputs are the fields with the tag option:"input": they are read but never written, since they are not fields of HF's.
func inputs(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, inputs(f.Type)...)
		} else if f.Tag.Get("option") == "input" {
			out = append(out, f.Tag.Get("json"))
		}
	}
	return out
}

func collect(v reflect.Value, out map[string]reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			collect(v.Field(i), out)
		} else if tag := t.Field(i).Tag.Get("json"); tag != "" {
			out[tag] = v.Field(i)
		}
	}
}

// encodeConfig writes a configuration as HF does: all fields, sorted, indented by two spaces, ASCII.
func encodeConfig(cfg any, unused map[string]any) []byte {
	all := map[string]any{}
	targets := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), targets)
	for k, v := range targets {
		all[k] = v.Interface()
	}
	for _, k := range inputs(reflect.TypeOf(cfg).Elem()) {
		delete(all, k)
	}
	for _, m := range []map[string]any{commonUnused, unused} {
		for k, v := range m {
			if !strings.HasPrefix(k, "-") {
				all[k] = v
			}
		}
	}
	return encode(all, "  ")
}

func encode(v any, indent string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("peft: a configuration that cannot be encoded: %v", err))
	}
	var out bytes.Buffer
	for _, r := range strings.TrimRight(b.String(), "\n") {
		switch {
		case r < 0x80:
			out.WriteByte(byte(r))
		case r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(&out, "\\u%04x\\u%04x", 0xD800+(r>>10), 0xDC00+(r&0x3FF))
		default:
			fmt.Fprintf(&out, "\\u%04x", r)
		}
	}
	return out.Bytes()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
