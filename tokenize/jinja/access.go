package jinja

import (
	"fmt"
	"unicode/utf8"
)

type attrExpr struct {
	e    expr
	name string
	line int
}

func (e *attrExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	x, err := r.attribute(v, e.name)
	return x, at(e.line, err)
}

// attribute is v.name: a method, or an item of a dictionary.
func (r *run) attribute(v any, name string) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if err := r.read(len(name)); err != nil {
		return nil, err
	}
	if m := method(v, name); m != nil {
		return m, r.charge(callSize)
	}
	switch x := v.(type) {
	case *Dict:
		if i, ok := x.Get(name); ok {
			return i, nil
		}
	case *namespace:
		if i, ok := x.d.Get(name); ok {
			return i, nil
		}
	case *loop:
		if i, ok := x.attribute(name); ok {
			return i, r.charge(callSize)
		}
	}
	return r.missing("'%s' has no attribute %s", objectName(v), brief(name))
}

// missing is a value that is not there, with the reason.
func (r *run) missing(format string, a ...any) (any, error) {
	return undefined{fmt.Sprintf(format, a...)}, r.charge(callSize)
}

func objectName(v any) string {
	if v == nil {
		return "None"
	}
	return typeName(v) + " object"
}

type itemExpr struct {
	e, key expr
	line   int
}

func (e *itemExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	k, err := r.eval(e.key, sc)
	if err != nil {
		return nil, err
	}
	x, err := r.item(v, k)
	return x, at(e.line, err)
}

// item is v[key].
func (r *run) item(v, key any) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if i, _, whole, ok := number(key); ok && whole {
		if x, ok := v.(string); ok {
			if c, ok, err := r.character(x, i); ok || err != nil {
				return c, err
			}
		}
		if x, ok := v.(*List); ok {
			if i < 0 {
				i += int64(len(x.Items))
			}
			if i >= 0 && i < int64(len(x.Items)) {
				return x.Items[i], nil
			}
		}
	}
	if d, ok := v.(*Dict); ok {
		if x, ok, err := r.get(d, key); ok || err != nil {
			return x, err
		}
	}
	if s, ok := key.(string); ok {
		return r.attribute(v, s)
	}
	return r.missing("%s has no element %s", objectName(v), brief(key))
}

// character is the i-th character of s, from its end where i is negative.
func (r *run) character(s string, i int64) (any, bool, error) {
	n := i
	if i < 0 {
		n = -i - 1
	}
	if n < 0 || n >= int64(len(s)) {
		return nil, false, nil
	}
	if err := r.touch(1 + int(n)/8); err != nil {
		return nil, false, err
	}
	for ; s != ""; n-- {
		var size int
		if i >= 0 {
			_, size = utf8.DecodeRuneInString(s)
		} else {
			_, size = utf8.DecodeLastRuneInString(s)
		}
		switch {
		case n == 0 && i >= 0:
			return string([]rune(s[:size])), true, nil
		case n == 0:
			return string([]rune(s[len(s)-size:])), true, nil
		case i >= 0:
			s = s[size:]
		default:
			s = s[:len(s)-size]
		}
	}
	return nil, false, nil
}
