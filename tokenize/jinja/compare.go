package jinja

import (
	"fmt"
	"sort"
	"strings"
)

// equal is Python's ==.
func (r *run) equal(a, b any) (bool, error) { return r.same(a, b, 0) }

func (r *run) same(a, b any, depth int) (bool, error) {
	if depth > maxNest {
		return false, errNest
	}
	if err := r.step(); err != nil {
		return false, err
	}
	if i, f, ai, ok := number(a); ok {
		j, g, bi, ok := number(b)
		if !ok {
			return false, nil
		}
		if ai && bi {
			return i == j, nil
		}
		return f == g, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		y, ok := b.(string)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		return x == y, r.read(len(x))
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case *List:
		y, ok := b.(*List)
		if !ok || x.Tuple != y.Tuple || len(x.Items) != len(y.Items) {
			return false, nil
		}
		for i := range x.Items {
			if ok, err := r.same(x.Items[i], y.Items[i], depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || x.Len() != y.Len() {
			return false, nil
		}
		for _, k := range x.keys {
			w, ok := y.m[k]
			if !ok {
				return false, nil
			}
			if ok, err := r.same(x.m[k], w, depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	return a == b, nil
}

// compare orders numbers, strings and lists.
func (r *run) compare(a, b any) (int, error) { return r.order(a, b, 0) }

func (r *run) order(a, b any, depth int) (int, error) {
	if depth > maxNest {
		return 0, errNest
	}
	if err := r.step(); err != nil {
		return 0, err
	}
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
			return strings.Compare(x, y), r.read(min(len(x), len(y)))
		}
	}
	if x, ok := a.(*List); ok {
		if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
			for i := 0; i < len(x.Items) && i < len(y.Items); i++ {
				same, err := r.same(x.Items[i], y.Items[i], depth+1)
				if err != nil {
					return 0, err
				}
				if !same {
					return r.order(x.Items[i], y.Items[i], depth+1)
				}
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

func (r *run) contains(in, v any) (bool, error) {
	switch x := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			if u, ok := v.(undefined); ok {
				return false, fmt.Errorf("'in <string>' requires string as left operand, not Undefined (%s)", u.why)
			}
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		i, err := r.find(x, s)
		return i >= 0, err
	case *Dict:
		_, ok, err := r.get(x, v)
		return ok, err
	}
	if !iterable(in) {
		return false, fmt.Errorf("argument of type '%s' is not iterable", typeName(in))
	}
	list, err := r.items(in)
	if err != nil {
		return false, err
	}
	for _, e := range list {
		if same, err := r.equal(e, v); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// sorted sorts a copy by key, stably.
func (r *run) sorted(list []any, key func(any) (any, error), reverse bool) ([]any, error) {
	if err := r.times(len(list), 2*itemSize); err != nil {
		return nil, err
	}
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
		if bad != nil {
			return false
		}
		a, b := ps[i].k, ps[j].k
		if reverse {
			a, b = b, a
		}
		c, err := r.compare(a, b)
		bad = err
		return c < 0
	})
	out := make([]any, len(ps))
	for i, p := range ps {
		out[i] = p.v
	}
	return out, bad
}
