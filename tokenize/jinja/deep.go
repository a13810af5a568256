package jinja

import (
	"fmt"
	"unicode/utf8"
)

// Operations that go into values. A list may stand in itself many times over (x = [x, x], again and again), so that a few names are more
// elements than can be looked at: each look is charged for. Only namespaces can be changed, so that a value that holds itself holds a
// namespace.

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
