package settings

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Error is a setting with a value that it may not have.
type Error struct {
	Key   string
	Value string
	Want  string // as "must be at least 1"
}

// Error says which setting has which value, and what it wants.
func (e *Error) Error() string { return fmt.Sprintf("%s is %s; it %s", e.Key, e.Value, e.Want) }

// Wrong is an error of the setting of that name in the struct v, whose value a check of several settings found wrong.
func Wrong(v any, name, want string) error {
	s := reflect.Indirect(reflect.ValueOf(v))
	for _, f := range Of(s.Type()) {
		if f.Name == name {
			return &Error{name, fmt.Sprint(s.FieldByIndex(f.Index).Interface()), want}
		}
	}
	panic(fmt.Sprintf("settings: %s has no setting %s", s.Type(), name))
}

// In puts the name of a section before the key of an [Error]; other errors stay as they are.
func In(section string, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return &Error{section + "." + e.Key, e.Value, e.Want}
	}
	return err
}

// Check holds a document's settings, a struct or a pointer to one, to their tags. It returns an [Error] of the first that does not fit.
func Check(v any) error { return check(v, false) }

// CheckSet is Check for settings made in Go: a zero of a setting with the tag unset is none.
func CheckSet(v any) error { return check(v, true) }

func check(v any, unset bool) error {
	s := reflect.Indirect(reflect.ValueOf(v))
	for _, f := range Of(s.Type()) {
		x := s.FieldByIndex(f.Index)
		if unset && f.unset && x.IsZero() {
			continue
		}
		if err := f.Check(x); err != nil {
			return err
		}
	}
	return nil
}

// Check says what is wrong with a value of the setting.
func (f *Field) Check(x reflect.Value) error {
	if f.Enum != nil && f.Type != "list" {
		if s := fmt.Sprint(x.Interface()); !slices.Contains(f.Enum, s) {
			return &Error{f.Name, fmt.Sprintf("%q", s), "must be one of " + strings.Join(f.Enum, ", ")}
		}
	}
	if f.Bounds == nil {
		return Finite(f.Name, x.Interface())
	}
	if x.Kind() != reflect.Slice {
		return f.Bounds.check(f.Name, x)
	}
	for i := range x.Len() {
		if err := f.Bounds.check(fmt.Sprintf("%s[%d]", f.Name, i), x.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bounds) check(name string, x reflect.Value) error {
	var v float64
	switch {
	case x.CanInt():
		v = float64(x.Int())
	case x.CanUint():
		v = float64(x.Uint())
	default:
		v = x.Float()
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return &Error{name, fmt.Sprint(v), "must be a finite number"}
		}
	}
	if side := b.side(v); side != 0 {
		return &Error{name, fmt.Sprint(x.Interface()), b.want(side)}
	}
	return nil
}

// Finite refuses numbers that are none, at any depth of a value; path names it.
func Finite(path string, v any) error {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return &Error{path, fmt.Sprint(v), "must be a finite number"}
		}
	case []any:
		for i, x := range v {
			if err := Finite(fmt.Sprintf("%s[%d]", path, i), x); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if err := Finite(path+"."+k, v[k]); err != nil {
				return err
			}
		}
	}
	return nil
}
