package jinja

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Operations that go into values. A list may stand in itself many times over (x = [x, x], again and again), so that a few names are more elements than can be
// looked at: each look is charged for. Only namespaces can be changed, so that a value that holds itself holds a namespace.

// maxNest bounds how deep values are looked into, as Python's recursion limit does.
const maxNest = 1000

var errNest = limit("a value nests deeper than %d", maxNest)

// key is a value as a key of dictionaries. As in Python lists and dictionaries are none, and a tuple is one by its elements.
func (r *run) key(v any) (any, error) {
	switch x := v.(type) {
	case string:
		return v, r.read(len(x))
	case *List, *Dict, *namespace, *function, undefined, *loop:
		t, err := r.repr(v)
		return tupleKey(t), err
	}
	return scalar(v), nil
}

// get is d[key].
func (r *run) get(d *Dict, key any) (any, bool, error) {
	k, err := r.key(key)
	if err != nil {
		return nil, false, err
	}
	v, ok := d.m[k]
	return v, ok, r.step()
}

// set is d[key] = value.
func (r *run) set(d *Dict, key, value any) error {
	k, err := r.key(key)
	if err != nil {
		return err
	}
	if err := r.charge(pairSize); err != nil {
		return err
	}
	d.Set(k, value)
	return nil
}

// extend sets what src has.
func (r *run) extend(d, src *Dict) error {
	if err := r.times(src.Len(), pairSize); err != nil {
		return err
	}
	for _, k := range src.keys {
		d.Set(k, src.m[k])
	}
	return nil
}

// str is Python's str().
func (r *run) str(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return x, nil
	case undefined:
		return "", nil
	}
	return r.repr(v)
}

// repr is Python's repr().
func (r *run) repr(v any) (string, error) {
	w := &writer{r: r}
	w.repr(v, 0)
	return w.text()
}

func (w *writer) repr(v any, depth int) {
	if depth > maxNest && w.err == nil {
		w.err = errNest
	}
	if w.err == nil {
		w.err = w.r.step()
	}
	if w.err != nil {
		return
	}
	switch x := v.(type) {
	case nil:
		w.add("None")
	case bool:
		if x {
			w.add("True")
		} else {
			w.add("False")
		}
	case int64:
		w.add(strconv.FormatInt(x, 10))
	case float64:
		w.add(floatRepr(x))
	case string:
		if w.err = w.r.read(len(x)); w.err == nil {
			stringRepr(w, x)
		}
	case tupleKey:
		w.add(string(x))
	case *List:
		open, end := "[", "]"
		if x.Tuple {
			open, end = "(", ")"
			if len(x.Items) == 1 {
				end = ",)"
			}
		}
		w.add(open)
		for i, e := range x.Items {
			if w.err != nil {
				return
			}
			if i > 0 {
				w.add(", ")
			}
			w.repr(e, depth+1)
		}
		w.add(end)
	case *Dict:
		w.add("{")
		for i, k := range x.keys {
			if w.err != nil {
				return
			}
			if i > 0 {
				w.add(", ")
			}
			w.repr(k, depth+1)
			w.add(": ")
			w.repr(x.m[k], depth+1)
		}
		w.add("}")
	case undefined:
		w.add("Undefined")
	case *namespace:
		w.add("<Namespace ")
		if w.err == nil {
			w.err = w.r.touch(len(w.open))
		}
		if slices.Contains(w.open, x) {
			w.add("{...}")
		} else {
			w.open = append(w.open, x)
			w.repr(x.d, depth+1)
			w.open = w.open[:len(w.open)-1]
		}
		w.add(">")
	case *loop:
		w.add(fmt.Sprintf("<LoopContext %d/%d>", x.i+1, len(x.items)))
	case *function:
		w.add("<function " + x.name + ">")
	default:
		w.add(fmt.Sprint(v))
	}
}

// brief is a value in a message.
func brief(v any) string {
	switch x := v.(type) {
	case string:
		if len(x) > 60 {
			x = strings.ToValidUTF8(x[:60], "") + "…"
		}
		w := &writer{r: unlimited()}
		stringRepr(w, x)
		return w.sb.String()
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return floatRepr(x)
	case nil:
		return "None"
	}
	return typeName(v)
}

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

// items lists what iterating v gives, all of which is going to be looked at.
func (r *run) items(v any) ([]any, error) {
	switch x := v.(type) {
	case undefined:
		return nil, nil
	case *List:
		return x.Items, r.touch(len(x.Items))
	case *Dict:
		return x.keys, r.touch(len(x.keys))
	case string:
		n := utf8.RuneCountInString(x)
		if err := r.times(n, itemSize+8); err != nil {
			return nil, err
		}
		out := make([]any, 0, n)
		for _, c := range x {
			out = append(out, string(c))
		}
		return out, nil
	case *loop:
		l := x.items[x.i+1:]
		return l, r.touch(len(l))
	}
	return nil, fmt.Errorf("'%s' object is not iterable", typeName(v))
}

// iterable tells whether items would list v.
func iterable(v any) bool {
	switch v.(type) {
	case undefined, *List, *Dict, string, *loop:
		return true
	}
	return false
}

func (r *run) length(v any) (int, error) {
	switch x := v.(type) {
	case undefined:
		return 0, nil
	case string:
		return utf8.RuneCountInString(x), r.read(len(x))
	case *List:
		return len(x.Items), nil
	case *Dict:
		return x.Len(), nil
	case *loop:
		return len(x.items), nil
	}
	return 0, fmt.Errorf("object of type '%s' has no len()", typeName(v))
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
