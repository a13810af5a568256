package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The values of a template are nil (none), bool, int64, float64, string, *List, *Dict, and the kinds below. Numbers of other Go types do
// not occur.
type (
	// List is a list, or a tuple.
	List struct {
		Items []any
		Tuple bool
	}
	// Dict keeps its keys in the order in which they were given, as Python's does.
	Dict struct {
		keys []any
		m    map[any]any
	}
	// undefined is what a missing name, attribute or item gives: false and empty, an error in most uses.
	undefined struct{ why string }
	namespace struct{ d *Dict }
	// function is anything that can be called.
	function struct {
		name string
		call func(r *run, args []any, kw *Dict) (any, error)
	}
)

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{m: map[any]any{}} }

// Set gives key, which is not a list or dictionary, a value; a key that is there keeps its place.
func (d *Dict) Set(key, value any) {
	key = scalar(key)
	if _, ok := d.m[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.m[key] = value
}

// Get is the value of key, which is not a list or dictionary.
func (d *Dict) Get(key any) (any, bool) {
	v, ok := d.m[scalar(key)]
	return v, ok
}

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Keys are the keys in order.
func (d *Dict) Keys() []any { return d.keys }

// tupleKey is a key that is not a number or text, by its text.
type tupleKey string

// scalar is a key as Python compares it: 1, 1.0 and true are one key.
func scalar(key any) any {
	switch k := key.(type) {
	case bool:
		if k {
			return int64(1)
		}
		return int64(0)
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int64(k)
		}
	}
	return key
}

func truth(v any) bool {
	switch x := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return x
	case int64:
		return x != 0
	case float64:
		return x != 0
	case string:
		return x != ""
	case *List:
		return len(x.Items) > 0
	case *Dict:
		return x.Len() > 0
	}
	return true
}

// typeName is Python's name of the type.
func typeName(v any) string {
	switch x := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *List:
		if x.Tuple {
			return "tuple"
		}
		return "list"
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *loop:
		return "LoopContext"
	}
	return "function"
}

// floatRepr is Python's repr of a float: the shortest that reads back, with an exponent below 1e-4 and from 1e16.
func floatRepr(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return "inf"
	case math.IsInf(x, -1):
		return "-inf"
	case math.IsNaN(x):
		return "nan"
	}
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// stringRepr is Python's repr of a text.
func stringRepr(w *writer, s string) {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	w.add(string(q))
	w.escaped(s, func(r rune) string {
		switch {
		case r == rune(q) || r == '\\':
			return `\` + string(r)
		case r == '\n':
			return `\n`
		case r == '\r':
			return `\r`
		case r == '\t':
			return `\t`
		case r == ' ' || unicode.IsPrint(r):
			return ""
		case r < 0x100:
			return fmt.Sprintf(`\x%02x`, r)
		case r < 0x10000:
			return fmt.Sprintf(`\u%04x`, r)
		}
		return fmt.Sprintf(`\U%08x`, r)
	})
	w.add(string(q))
}

// escaped adds s with the characters replaced for which f has a text.
func (w *writer) escaped(s string, f func(rune) string) {
	from := 0
	for i, c := range s {
		if c >= 'a' && c <= 'z' || c == ' ' { // the most
			continue
		}
		x := f(c)
		if n := utf8.RuneLen(c); x == "" && c == utf8.RuneError {
			w.add(s[from:i])
			w.add(string(c)) // also for a byte that is not a character
			_, n = utf8.DecodeRuneInString(s[i:])
			from = i + n
		} else if x != "" {
			w.add(s[from:i])
			w.add(x)
			from = i + n
		}
		if w.err != nil {
			return
		}
	}
	w.add(s[from:])
}

// number is v as a number; isInt tells whether i holds it.
func number(v any) (i int64, f float64, isInt, ok bool) {
	switch x := v.(type) {
	case bool:
		if x {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return x, float64(x), true, true
	case float64:
		return 0, x, false, true
	}
	return 0, 0, false, false
}

func (u undefined) err() error { return &Error{Kind: "UndefinedError", Message: u.why} }

// space tells of Python's white space (str.isspace and \s).
func space(r rune) bool {
	return r >= 0x1C && r <= 0x1F || unicode.Is(unicode.White_Space, r)
}
