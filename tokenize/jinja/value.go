package jinja

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The values of a template are nil (none), bool, int64, float64, string, *List, *Dict, and the kinds below. Numbers of other Go types do not occur.
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

// Set gives key a value; a key that is there keeps its place.
func (d *Dict) Set(key, value any) {
	key = hashable(key)
	if _, ok := d.m[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.m[key] = value
}

// Get is the value of key.
func (d *Dict) Get(key any) (any, bool) {
	v, ok := d.m[hashable(key)]
	return v, ok
}

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Keys are the keys in order.
func (d *Dict) Keys() []any { return d.keys }

type tupleKey string

// hashable is key as Python compares it: 1, 1.0 and true are one key.
func hashable(key any) any {
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
	case *List:
		return tupleKey(repr(k))
	case *Dict, *namespace, *function, undefined:
		return tupleKey(repr(k))
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

// str is Python's str().
func str(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case undefined:
		return ""
	}
	return repr(v)
}

// repr is Python's repr().
func repr(v any) string {
	switch x := v.(type) {
	case nil:
		return "None"
	case bool:
		if x {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return floatRepr(x)
	case string:
		return stringRepr(x)
	case tupleKey:
		return string(x)
	case *List:
		var sb strings.Builder
		open, end := "[", "]"
		if x.Tuple {
			open, end = "(", ")"
			if len(x.Items) == 1 {
				end = ",)"
			}
		}
		sb.WriteString(open)
		for i, e := range x.Items {
			if i > 0 {
				sb.WriteString(", ")
			}
			sb.WriteString(repr(e))
		}
		return sb.String() + end
	case *Dict:
		var sb strings.Builder
		sb.WriteByte('{')
		for i, k := range x.keys {
			if i > 0 {
				sb.WriteString(", ")
			}
			sb.WriteString(repr(k) + ": " + repr(x.m[k]))
		}
		return sb.String() + "}"
	case undefined:
		return "Undefined"
	case *namespace:
		return "<Namespace " + repr(x.d) + ">"
	case *loop:
		return fmt.Sprintf("<LoopContext %d/%d>", x.i+1, len(x.items))
	case *function:
		return "<function " + x.name + ">"
	}
	return fmt.Sprint(v)
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

func stringRepr(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var sb strings.Builder
	sb.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			sb.WriteByte('\\')
			sb.WriteRune(r)
		case r == '\n':
			sb.WriteString(`\n`)
		case r == '\r':
			sb.WriteString(`\r`)
		case r == '\t':
			sb.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			sb.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&sb, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&sb, `\u%04x`, r)
		default:
			fmt.Fprintf(&sb, `\U%08x`, r)
		}
	}
	sb.WriteByte(q)
	return sb.String()
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

func equal(a, b any) bool {
	if i, f, ai, ok := number(a); ok {
		j, g, bi, ok := number(b)
		if !ok {
			return false
		}
		if ai && bi {
			return i == j
		}
		return f == g
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case string:
		y, ok := b.(string)
		return ok && x == y
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *List:
		y, ok := b.(*List)
		if !ok || x.Tuple != y.Tuple || len(x.Items) != len(y.Items) {
			return false
		}
		for i := range x.Items {
			if !equal(x.Items[i], y.Items[i]) {
				return false
			}
		}
		return true
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || x.Len() != y.Len() {
			return false
		}
		for k, v := range x.m {
			if w, ok := y.m[k]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}

// compare orders numbers, strings and lists.
func compare(a, b any) (int, error) {
	_, f, _, ok1 := number(a)
	_, g, _, ok2 := number(b)
	if ok1 && ok2 {
		switch {
		case f < g:
			return -1, nil
		case f > g:
			return 1, nil
		}
		return 0, nil
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), nil
		}
	}
	if x, ok := a.(*List); ok {
		if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
			for i := 0; i < len(x.Items) && i < len(y.Items); i++ {
				if equal(x.Items[i], y.Items[i]) {
					continue
				}
				return compare(x.Items[i], y.Items[i])
			}
			return len(x.Items) - len(y.Items), nil
		}
	}
	if u, ok := a.(undefined); ok {
		return 0, u.err()
	}
	if u, ok := b.(undefined); ok {
		return 0, u.err()
	}
	return 0, fmt.Errorf("'<' not supported between instances of '%s' and '%s'", typeName(a), typeName(b))
}

func (u undefined) err() error { return &Error{Kind: "UndefinedError", Message: u.why} }

// items lists what iterating v gives.
func items(v any) ([]any, error) {
	switch x := v.(type) {
	case undefined:
		return nil, nil
	case *List:
		return x.Items, nil
	case *Dict:
		return x.keys, nil
	case string:
		out := make([]any, 0, len(x))
		for _, r := range x {
			out = append(out, string(r))
		}
		return out, nil
	case *loop:
		return x.items[x.i+1:], nil
	}
	return nil, fmt.Errorf("'%s' object is not iterable", typeName(v))
}

func length(v any) (int, error) {
	switch x := v.(type) {
	case undefined:
		return 0, nil
	case string:
		return utf8.RuneCountInString(x), nil
	case *List:
		return len(x.Items), nil
	case *Dict:
		return x.Len(), nil
	case *loop:
		return len(x.items), nil
	}
	return 0, fmt.Errorf("object of type '%s' has no len()", typeName(v))
}

func contains(in, v any) (bool, error) {
	switch x := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			if u, ok := v.(undefined); ok {
				return false, fmt.Errorf("'in <string>' requires string as left operand, not Undefined (%s)", u.why)
			}
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		return strings.Contains(x, s), nil
	case *Dict:
		_, ok := x.Get(v)
		return ok, nil
	}
	list, err := items(in)
	if err != nil {
		return false, fmt.Errorf("argument of type '%s' is not iterable", typeName(in))
	}
	for _, e := range list {
		if equal(e, v) {
			return true, nil
		}
	}
	return false, nil
}

// sorted sorts a copy by key, stably.
func sorted(list []any, key func(any) (any, error), reverse bool) ([]any, error) {
	type pair struct{ k, v any }
	ps := make([]pair, len(list))
	for i, v := range list {
		k, err := key(v)
		if err != nil {
			return nil, err
		}
		ps[i] = pair{k, v}
	}
	var bad error
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i].k, ps[j].k
		if reverse {
			a, b = b, a
		}
		c, err := compare(a, b)
		if err != nil && bad == nil {
			bad = err
		}
		return c < 0
	})
	out := make([]any, len(ps))
	for i, p := range ps {
		out[i] = p.v
	}
	return out, bad
}

// space tells of Python's white space (str.isspace and \s).
func space(r rune) bool {
	return r >= 0x1C && r <= 0x1F || unicode.Is(unicode.White_Space, r)
}
