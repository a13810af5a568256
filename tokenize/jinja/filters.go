package jinja

import (
	"errors"
	"strconv"
	"strings"
)

type builtin func(r *run, v any, p *params) (any, error)

// getter makes what the argument `attribute` asks for: an item or attribute, of parts with dots between.
func (r *run) getter(a any, def any) func(any) (any, error) {
	if a == nil {
		return func(v any) (any, error) { return v, nil }
	}
	var parts []any
	if s, ok := a.(string); ok {
		if err := r.times(strings.Count(s, ".")+1, 2*itemSize); err != nil {
			return func(any) (any, error) { return nil, err }
		}
		for _, x := range strings.Split(s, ".") {
			if n, err := strconv.ParseInt(x, 10, 64); err == nil && n >= 0 {
				parts = append(parts, n)
			} else {
				parts = append(parts, x)
			}
		}
	} else {
		parts = []any{a}
	}
	return func(v any) (any, error) {
		for _, x := range parts {
			var err error
			if v, err = r.item(v, x); err != nil {
				return nil, err
			}
			if _, ok := v.(undefined); ok && def != nil {
				v = def
			}
		}
		return v, nil
	}
}

func (r *run) fold(get func(any) (any, error), sensitive bool) func(any) (any, error) {
	if sensitive {
		return get
	}
	return func(v any) (any, error) {
		x, err := get(v)
		if s, ok := x.(string); ok && err == nil {
			if err := r.mapping(2 * len(s)); err != nil {
				return nil, err
			}
			return lower(s), nil
		}
		return x, err
	}
}

// filterTable are the filters by name, Jinja's and transformers' tojson. Those that are random or made for HTML are left out.
var filterTable = map[string]builtin{
	"abs": filterAbs, "attr": filterAttr, "batch": filterBatch, "capitalize": toText(capitalize), "center": filterCenter,
	"count": filterLength,
	"d":     filterDefault, "default": filterDefault, "dictsort": filterDictsort, "e": toText(escape), "escape": toText(escape),
	"first": end(true),
	"float": filterFloat, "forceescape": toText(escape), "format": filterFormat, "groupby": filterGroupby,
	"indent": filterIndent, "int": filterInt,
	"items": filterItems, "join": filterJoin, "last": end(false), "length": filterLength, "list": filterList, "lower": toText(lower),
	"map": filterMap, "max": extreme(1), "min": extreme(-1), "reject": chosen(false, false), "rejectattr": chosen(false, true),
	"replace": filterReplace, "reverse": filterReverse, "round": filterRound, "safe": toText(same), "select": chosen(true, false),
	"selectattr": chosen(true, true), "slice": filterSlice, "sort": filterSort, "string": toText(same), "sum": filterSum,
	"title":  toText(titleWords),
	"tojson": filterTojson, "trim": filterTrim, "truncate": filterTruncate, "unique": filterUnique, "upper": toText(upper),
	"urlencode": toText(urlEncode), "wordcount": filterWordcount,
}

func filterAttr(r *run, v any, p *params) (any, error) {
	name, err := p.text(r, 0, "name", "")
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*Dict); ok {
		if m := method(v, name); m != nil {
			return m, r.charge(callSize)
		}
		return r.missing("'dict object' has no attribute %s", brief(name))
	}
	return r.attribute(v, name)
}

func filterDefault(_ *run, v any, p *params) (any, error) {
	if _, ok := v.(undefined); ok || truth(p.get(1, "boolean", false)) && !truth(v) {
		return p.get(0, "default_value", ""), nil
	}
	return v, nil
}

func filterTojson(r *run, v any, p *params) (any, error) {
	s := jsonStyle{ascii: truth(p.get(0, "ensure_ascii", false)), item: ", ", key: ": ", sort: truth(p.get(3, "sort_keys", false))}
	switch in := p.get(1, "indent", nil).(type) {
	case nil:
	case string:
		s.pretty, s.indent = true, in
	default:
		n, _, whole, ok := number(in)
		if !ok || !whole || n > 1<<10 {
			return nil, errors.New("indent must be a text or a small whole number")
		}
		s.pretty, s.indent = true, strings.Repeat(" ", int(max(n, 0)))
	}
	if s.pretty {
		s.item = ","
	}
	if sep := p.get(2, "separators", nil); sep != nil {
		l, err := r.items(sep)
		if err != nil || len(l) != 2 {
			return nil, errors.New("separators must be a pair")
		}
		if s.item, err = r.str(l[0]); err != nil {
			return nil, err
		}
		if s.key, err = r.str(l[1]); err != nil {
			return nil, err
		}
	}
	w := &writer{r: r}
	s.dumps(w, v, 0)
	return w.text()
}
