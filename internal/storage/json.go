package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// MarshalJSON is json.MarshalIndent (json.Marshal with no indent) of a value whose numbers may be NaN or infinite, which JSON lacks: they
// become null.
func MarshalJSON(v any, indent string) ([]byte, error) {
	marshal := func(v any) ([]byte, error) {
		if indent == "" {
			return json.Marshal(v)
		}
		return json.MarshalIndent(v, "", indent)
	}
	b, err := marshal(v)
	if un := (*json.UnsupportedValueError)(nil); !errors.As(err, &un) ||
		un.Value.Kind() != reflect.Float64 && un.Value.Kind() != reflect.Float32 {
		return b, err
	}
	if b, err = marshal(marked(reflect.ValueOf(v)).Interface()); err != nil {
		return nil, err
	}
	b = bytes.ReplaceAll(b, []byte(noNumberText64), []byte("null"))
	return bytes.ReplaceAll(b, []byte(noNumberText32), []byte("null")), nil
}

// Numbers that stand for no number while a value is written: no measurement has them.
const (
	noNumber64     = -1.797693134862315e308
	noNumber32     = float32(-3.4028233e38)
	noNumberText64 = "-1.797693134862315e+308"
	noNumberText32 = "-3.4028233e+38"
)

// marked is a copy of a value in which the numbers above stand for what is not finite.
func marked(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Float64, reflect.Float32:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		if v.Kind() == reflect.Float32 {
			out.SetFloat(float64(noNumber32))
		} else {
			out.SetFloat(noNumber64)
		}
		return out
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(marked(v.Elem()))
		return out
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		out.Set(marked(v.Elem()))
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(marked(v.Field(i)))
			}
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(marked(v.Index(i)))
		}
		return out
	case reflect.Array:
		out := reflect.New(v.Type()).Elem()
		for i := range v.Len() {
			out.Index(i).Set(marked(v.Index(i)))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for _, k := range v.MapKeys() {
			out.SetMapIndex(k, marked(v.MapIndex(k)))
		}
		return out
	}
	return v
}

// Unmarshal is json.Unmarshal into a pointer to a struct or a map. Its error says so where the text is not an object, and not what the
// fields in Go are.
func Unmarshal(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) && kind.Field == "" {
		return fmt.Errorf("it is a JSON %s, and an object is wanted", kind.Value)
	}
	return err
}
