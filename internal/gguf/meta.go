package gguf

import (
	"fmt"
	"math"
	"strconv"
)

// KV is an entry of the metadata. The value is a uint8, int8, uint16, int16, uint32, int32, float32, bool, string, uint64, int64 or
// float64, or a slice of one of these.
type KV struct {
	Key   string
	Value any
}

// Meta is metadata in the order of the file, with no key twice.
type Meta []KV

// Set appends an entry, or gives that of its key another value.
func (m *Meta) Set(key string, value any) {
	for i := range *m {
		if (*m)[i].Key == key {
			(*m)[i].Value = value
			return
		}
	}
	*m = append(*m, KV{key, value})
}

// Value is the value of a key, nil where there is none.
func (m Meta) Value(key string) any {
	for _, kv := range m {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// Has says whether there is a value of a key.
func (m Meta) Has(key string) bool { return m.Value(key) != nil }

// get is the value of a key as a T, by what converts the types that will do. ok is false where there is none; a value of another type is an
// error.
func get[T any](m Meta, key, kind string, as func(any) (T, bool)) (v T, ok bool, err error) {
	raw := m.Value(key)
	if raw == nil {
		return v, false, nil
	}
	if v, ok = as(raw); !ok {
		return v, false, fmt.Errorf("%s is %s, not %s", key, describe(raw), kind)
	}
	return v, true, nil
}

// String is a string; ok is false where the key is absent.
func (m Meta) String(key string) (v string, ok bool, err error) {
	return get(m, key, "a string", func(raw any) (string, bool) { s, ok := raw.(string); return s, ok })
}

// Bool is a truth value; ok is false where the key is absent.
func (m Meta) Bool(key string) (v, ok bool, err error) {
	return get(m, key, "true or false", func(raw any) (bool, bool) { b, ok := raw.(bool); return b, ok })
}

// Int is an integer of any width; ok is false where the key is absent.
func (m Meta) Int(key string) (v int, ok bool, err error) { return get(m, key, "an integer", integer) }

// Float is a number of any width; ok is false where the key is absent.
func (m Meta) Float(key string) (v float64, ok bool, err error) {
	return get(m, key, "a number", func(raw any) (float64, bool) {
		switch n := raw.(type) {
		case float32:
			return float64(n), true
		case float64:
			return n, true
		}
		n, ok := integer(raw)
		return float64(n), ok
	})
}

// Strings is an array of strings; ok is false where the key is absent.
func (m Meta) Strings(key string) (v []string, ok bool, err error) {
	return get(m, key, "an array of strings", func(raw any) ([]string, bool) { s, ok := raw.([]string); return s, ok })
}

// Ints is an array of integers of any width; ok is false where the key is absent.
func (m Meta) Ints(key string) (v []int, ok bool, err error) {
	return get(m, key, "an array of integers", func(raw any) ([]int, bool) {
		switch a := raw.(type) {
		case []uint8:
			return widened(a)
		case []int8:
			return widened(a)
		case []uint16:
			return widened(a)
		case []int16:
			return widened(a)
		case []uint32:
			return widened(a)
		case []int32:
			return widened(a)
		case []uint64:
			return widened(a)
		case []int64:
			return widened(a)
		}
		return nil, false
	})
}

// Floats is an array of float32; ok is false where the key is absent.
func (m Meta) Floats(key string) (v []float32, ok bool, err error) {
	return get(m, key, "an array of numbers", func(raw any) ([]float32, bool) { a, ok := raw.([]float32); return a, ok })
}

func widened[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64](a []T) ([]int, bool) {
	out := make([]int, len(a))
	for i, v := range a {
		if uint64(v) > math.MaxInt64 && v > 0 {
			return nil, false
		}
		out[i] = int(v)
	}
	return out, true
}

func integer(raw any) (int, bool) {
	switch n := raw.(type) {
	case uint8:
		return int(n), true
	case int8:
		return int(n), true
	case uint16:
		return int(n), true
	case int16:
		return int(n), true
	case uint32:
		return int(n), true
	case int32:
		return int(n), true
	case uint64:
		return int(n), n <= math.MaxInt64
	case int64:
		return int(n), true
	}
	return 0, false
}

// describe names a value for an error: its type, and what it is where that is short.
func describe(v any) string {
	for _, k := range kinds {
		if n, is := k.length(v); is {
			if n >= 0 {
				return fmt.Sprintf("an array of %d × %s", n, k.name)
			}
			text := fmt.Sprint(v)
			if len(text) > 40 {
				text = text[:40] + "…"
			}
			return k.name + " " + strconv.Quote(text)
		}
	}
	return fmt.Sprintf("a %T", v)
}
