package jinja

import (
	"errors"
	"fmt"
	"strings"
)

// chosen is select, reject, selectattr and rejectattr.
func chosen(want, attr bool) builtin {
	return func(r *run, v any, p *params) (any, error) {
		list, err := r.items(v)
		if err != nil {
			return nil, err
		}
		args, get := p.pos, r.getter(nil, nil)
		if attr {
			if len(args) == 0 {
				//lint:ignore ST1005 Jinja's own words, which templates' users know
				return nil, errors.New("Missing parameter for attribute name")
			}
			get, args = r.getter(args[0], nil), args[1:]
		}
		test := func(_ *run, v any, _ []any) (bool, error) { return truth(v), nil }
		if len(args) > 0 {
			name, _ := args[0].(string)
			if test = r.tests[name]; test == nil {
				return nil, &Error{Kind: "TemplateRuntimeError", Message: fmt.Sprintf("No test named %s.", brief(args[0]))}
			}
			args = args[1:]
		}
		out := []any{}
		for _, x := range list {
			if err := r.step(); err != nil {
				return nil, err
			}
			a, err := get(x)
			if err != nil {
				return nil, err
			}
			ok, err := test(r, a, args)
			if err != nil {
				return nil, err
			}
			if ok == want {
				out = append(out, x)
			}
		}
		return r.list(out)
	}
}

func extreme(sign int) builtin {
	return func(r *run, v any, p *params) (any, error) {
		list, err := r.items(v)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return undefined{"No aggregated item, sequence was empty."}, nil
		}
		key := r.fold(r.getter(p.get(1, "attribute", nil), nil), truth(p.get(0, "case_sensitive", false)))
		best := list[0]
		for _, x := range list[1:] {
			a, err := key(x)
			if err != nil {
				return nil, err
			}
			b, err := key(best)
			if err != nil {
				return nil, err
			}
			c, err := r.compare(a, b)
			if err != nil {
				return nil, err
			}
			if c*sign > 0 {
				best = x
			}
		}
		return best, nil
	}
}

func end(first bool) builtin {
	return func(r *run, v any, _ *params) (any, error) {
		var l []any
		var err error
		switch x := v.(type) { // the others are not looked at
		case *List:
			l = x.Items
		case *Dict:
			l = x.keys
		case string:
			i := int64(0)
			if !first {
				i = -1
			}
			if c, ok, err := r.character(x, i); ok || err != nil {
				return c, err
			}
		default:
			l, err = r.items(v)
		}
		if err != nil {
			return nil, err
		}
		if len(l) == 0 {
			return undefined{"No first or last item, sequence was empty."}, nil
		}
		if first {
			return l[0], nil
		}
		return l[len(l)-1], nil
	}
}

func filterBatch(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	n, err := p.whole(0, "linecount", 0)
	if err != nil || n < 1 {
		return nil, errors.New("batch needs a positive linecount")
	}
	fill := p.get(1, "fill_with", nil)
	out := []any{}
	for len(l) > 0 {
		k := min(n, len(l))
		if err := r.room(k); err != nil {
			return nil, err
		}
		part := append([]any{}, l[:k]...)
		l = l[k:]
		for fill != nil && len(part) < n {
			if err := r.charge(itemSize); err != nil {
				return nil, err
			}
			part = append(part, fill)
		}
		out = append(out, &List{Items: part})
	}
	return r.list(out)
}

func filterDictsort(r *run, v any, p *params) (any, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("'%s' object has no attribute 'items'", typeName(v))
	}
	pos := int64(0)
	by, err := p.text(r, 1, "by", "key")
	if err != nil {
		return nil, err
	}
	switch by {
	case "key":
	case "value":
		pos = 1
	default:
		return nil, &Error{Kind: "FilterArgumentError", Message: `You can only sort by either "key" or "value"`}
	}
	l, err := dictMethods["items"](r, d, p)
	if err != nil {
		return nil, err
	}
	out, err := r.sorted(l.(*List).Items, r.fold(r.getter(pos, nil), truth(p.get(0, "case_sensitive", false))),
		truth(p.get(2, "reverse", false)))
	return &List{Items: out}, err
}

func filterGroupby(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	get := r.getter(p.get(0, "attribute", nil), p.get(1, "default", nil))
	key := r.fold(get, truth(p.get(2, "case_sensitive", false)))
	if l, err = r.sorted(l, key, false); err != nil {
		return nil, err
	}
	out := []any{}
	var last *List
	var lastKey any
	for _, x := range l {
		k, err := key(x)
		if err != nil {
			return nil, err
		}
		same := false
		if last != nil {
			if same, err = r.equal(k, lastKey); err != nil {
				return nil, err
			}
		}
		if !same {
			if err := r.charge(2 * listSize); err != nil {
				return nil, err
			}
			name, err := get(x)
			if err != nil {
				return nil, err
			}
			last, lastKey = &List{}, k
			out = append(out, &List{[]any{name, last}, true})
		}
		if err := r.charge(itemSize); err != nil {
			return nil, err
		}
		last.Items = append(last.Items, x)
	}
	return r.list(out)
}

func filterItems(r *run, v any, p *params) (any, error) {
	switch x := v.(type) {
	case undefined:
		return &List{}, nil
	case *Dict:
		return dictMethods["items"](r, x, p)
	}
	//lint:ignore ST1005 Jinja's own words, which templates' users know
	return nil, errors.New("Can only get item pairs from a mapping.")
}

func filterLength(r *run, v any, _ *params) (any, error) {
	n, err := r.length(v)
	return int64(n), err
}

func filterList(r *run, v any, _ *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	if err := r.room(len(l)); err != nil {
		return nil, err
	}
	return &List{Items: append([]any{}, l...)}, nil
}

func filterMap(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	var f func(any) (any, error)
	if a, ok := p.kw.Get("attribute"); ok && len(p.pos) == 0 {
		def, _ := p.kw.Get("default")
		f = r.getter(a, def)
	} else if len(p.pos) > 0 {
		name, _ := p.pos[0].(string)
		fn := r.filters[name]
		if fn == nil {
			return nil, &Error{Kind: "TemplateRuntimeError", Message: fmt.Sprintf("No filter named %s.", brief(p.pos[0]))}
		}
		f = func(x any) (any, error) { return fn(r, x, &params{name: name, pos: p.pos[1:], kw: p.kw}) }
	} else {
		return nil, &Error{Kind: "FilterArgumentError", Message: "map requires a filter argument"}
	}
	if err := r.room(len(l)); err != nil {
		return nil, err
	}
	out := make([]any, len(l))
	for i, x := range l {
		if err := r.step(); err != nil {
			return nil, err
		}
		if out[i], err = f(x); err != nil {
			return nil, err
		}
	}
	return &List{Items: out}, nil
}

func filterReverse(r *run, v any, _ *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	if err := r.room(len(l)); err != nil {
		return nil, err
	}
	out := make([]any, len(l))
	for i, x := range l {
		out[len(l)-1-i] = x
	}
	if s, ok := v.(string); ok {
		var sb strings.Builder
		for _, x := range out {
			sb.WriteString(x.(string))
		}
		return sb.String(), r.charge(len(s))
	}
	return &List{Items: out}, nil
}

func filterSlice(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	n, err := p.whole(0, "slices", 0)
	if err != nil || n < 1 || n > maxRange {
		return nil, errors.New("slice needs a positive number of slices")
	}
	if err := r.times(len(l)+2*n, itemSize); err != nil {
		return nil, err
	}
	if err := r.times(n, listSize); err != nil {
		return nil, err
	}
	each, more, at, fill := len(l)/n, len(l)%n, 0, p.get(1, "fill_with", nil)
	var out []any
	for i := range n {
		k := each
		if i < more {
			k++
		}
		part := append([]any{}, l[at:at+k]...)
		at += k
		if fill != nil && i >= more {
			part = append(part, fill)
		}
		out = append(out, &List{Items: part})
	}
	return r.list(out)
}

func filterSort(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	get := r.fold(r.getter(p.get(2, "attribute", nil), nil), truth(p.get(1, "case_sensitive", false)))
	out, err := r.sorted(l, get, truth(p.get(0, "reverse", false)))
	if err != nil {
		return nil, err
	}
	return r.list(out)
}

func filterUnique(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	get := r.fold(r.getter(p.get(1, "attribute", nil), nil), truth(p.get(0, "case_sensitive", false)))
	if err := r.times(len(l), pairSize); err != nil {
		return nil, err
	}
	seen, out := map[any]bool{}, []any{}
	for _, x := range l {
		k, err := get(x)
		if err != nil {
			return nil, err
		}
		if k, err = r.key(k); err != nil {
			return nil, err
		}
		if !seen[k] {
			seen[k] = true
			out = append(out, x)
		}
	}
	return r.list(out)
}
