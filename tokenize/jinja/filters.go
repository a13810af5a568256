package jinja

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type builtin func(r *run, v any, p *params) (any, error)

// filterTable are the filters by name, Jinja's and transformers' tojson. Those that are random or made for HTML are left out.
var filterTable map[string]builtin

func toText(f func(string) string) builtin {
	return func(r *run, v any, _ *params) (any, error) {
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if err := r.mapping(len(s)); err != nil {
			return nil, err
		}
		return r.newString(f(s))
	}
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

func escape(s string) string { return htmlEscapes.Replace(s) }

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
			if test = testTable[name]; test == nil {
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

func init() {
	filterTable = map[string]builtin{
		"abs": func(_ *run, v any, _ *params) (any, error) {
			i, f, whole, ok := number(v)
			if !ok {
				return nil, fmt.Errorf("bad operand type for abs(): '%s'", typeName(v))
			}
			if whole {
				return max(i, -i), nil
			}
			return math.Abs(f), nil
		},
		"attr": func(r *run, v any, p *params) (any, error) {
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
		},
		"batch": func(r *run, v any, p *params) (any, error) {
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
		},
		"capitalize": toText(capitalize), "lower": toText(lower), "upper": toText(upper), "title": toText(func(s string) string {
			var sb strings.Builder
			begin := true
			for _, c := range s {
				switch {
				case c < utf8.RuneSelf && begin:
					sb.WriteRune(unicode.ToUpper(c))
				case c < utf8.RuneSelf:
					sb.WriteRune(unicode.ToLower(c))
				case begin:
					sb.WriteString(upper(string(c)))
				default:
					sb.WriteString(lower(string(c)))
				}
				begin = space(c) || strings.ContainsRune("-({[<", c)
			}
			return sb.String()
		}),
		"string": toText(func(s string) string { return s }), "safe": toText(func(s string) string { return s }),
		"escape": toText(escape), "forceescape": toText(escape), "urlencode": toText(func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
		}),
		"center": func(r *run, v any, p *params) (any, error) {
			w := p.get(0, "width", int64(80))
			s, err := r.str(v)
			if err != nil {
				return nil, err
			}
			return stringMethods["center"](r, s, &params{name: "center", pos: []any{w}, kw: NewDict()})
		},
		"default": func(_ *run, v any, p *params) (any, error) {
			if _, ok := v.(undefined); ok || truth(p.get(1, "boolean", false)) && !truth(v) {
				return p.get(0, "default_value", ""), nil
			}
			return v, nil
		},
		"dictsort": func(r *run, v any, p *params) (any, error) {
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
			out, err := r.sorted(l.(*List).Items, r.fold(r.getter(pos, nil), truth(p.get(0, "case_sensitive", false))), truth(p.get(2, "reverse", false)))
			return &List{Items: out}, err
		},
		"first": end(true), "last": end(false),
		"float": func(r *run, v any, p *params) (any, error) {
			_, f, _, ok := number(v)
			if s, is := v.(string); is {
				if err := r.touch(len(s) / 4); err != nil {
					return nil, err
				}
				x, err := strconv.ParseFloat(strings.TrimFunc(s, space), 64)
				f, ok = x, err == nil
			}
			if !ok {
				return p.get(0, "default", 0.0), nil
			}
			return f, nil
		},
		"format": func(r *run, v any, p *params) (any, error) {
			s, err := r.str(v)
			if err != nil {
				return nil, err
			}
			if p.kw.Len() > 0 {
				return r.percent(s, p.kw)
			}
			return r.percent(s, &List{p.pos, true})
		},
		"groupby": func(r *run, v any, p *params) (any, error) {
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
		},
		"indent": func(r *run, v any, p *params) (any, error) {
			s, err := r.str(v)
			if err != nil {
				return nil, err
			}
			in := p.get(0, "width", int64(4))
			pad, ok := in.(string)
			if !ok {
				n, _, _, _ := number(in)
				if n < 0 || n > 1<<16 {
					return nil, limit("an indent of %d", n)
				}
				pad = strings.Repeat(" ", int(n))
			}
			n := strings.Count(s, "\n") + 1
			if err := r.times(n, len(pad)+itemSize); err != nil {
				return nil, err
			}
			if err := r.times(len(s), 2); err != nil {
				return nil, err
			}
			lines := strings.Split(s, "\n")
			blank := truth(p.get(2, "blank", false))
			for i := range lines {
				if (i > 0 || truth(p.get(1, "first", false))) && (blank || lines[i] != "" || i == 0) {
					lines[i] = pad + lines[i]
				}
			}
			return strings.Join(lines, "\n"), nil
		},
		"int": func(r *run, v any, p *params) (any, error) {
			i, f, whole, ok := number(v)
			switch x := v.(type) {
			case string:
				if err := r.touch(len(x) / 4); err != nil {
					return nil, err
				}
				base, err := p.whole(1, "base", 10)
				if err != nil {
					return nil, err
				}
				t := strings.TrimFunc(x, space)
				n, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimPrefix(t, "0x"), "0X"), base, 64)
				if err == nil && (base == 16 || !strings.HasPrefix(t, "0x")) {
					return n, nil
				}
				if g, err := strconv.ParseFloat(t, 64); err == nil && math.Abs(g) < 1<<62 {
					return int64(g), nil
				}
				return p.get(0, "default", int64(0)), nil
			}
			switch {
			case ok && whole:
				return i, nil
			case ok && math.Abs(f) < 1<<62:
				return int64(f), nil
			}
			return p.get(0, "default", int64(0)), nil
		},
		"items": func(r *run, v any, p *params) (any, error) {
			switch x := v.(type) {
			case undefined:
				return &List{}, nil
			case *Dict:
				return dictMethods["items"](r, x, p)
			}
			//lint:ignore ST1005 Jinja's own words, which templates' users know
			return nil, errors.New("Can only get item pairs from a mapping.")
		},
		"join": func(r *run, v any, p *params) (any, error) {
			l, err := r.items(v)
			if err != nil {
				return nil, err
			}
			get := r.getter(p.get(1, "attribute", nil), nil)
			sep, err := p.text(r, 0, "d", "")
			if err != nil {
				return nil, err
			}
			w := &writer{r: r}
			for i, x := range l {
				a, err := get(x)
				if err != nil {
					return nil, err
				}
				t, err := r.str(a)
				if err != nil {
					return nil, err
				}
				if i > 0 {
					w.add(sep)
				}
				if w.add(t); w.err != nil {
					return nil, w.err
				}
			}
			return w.text()
		},
		"length": func(r *run, v any, _ *params) (any, error) {
			n, err := r.length(v)
			return int64(n), err
		},
		"list": func(r *run, v any, _ *params) (any, error) {
			l, err := r.items(v)
			if err != nil {
				return nil, err
			}
			if err := r.room(len(l)); err != nil {
				return nil, err
			}
			return &List{Items: append([]any{}, l...)}, nil
		},
		"map": func(r *run, v any, p *params) (any, error) {
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
				fn := filterTable[name]
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
		},
		"max": extreme(1), "min": extreme(-1),
		"select": chosen(true, false), "reject": chosen(false, false), "selectattr": chosen(true, true), "rejectattr": chosen(false, true),
		"replace": func(r *run, v any, p *params) (any, error) {
			n := -1
			if c := p.get(2, "count", nil); c != nil {
				i, _, _, _ := number(c)
				n = int(i)
			}
			var text [3]string
			for i, x := range []any{v, p.get(0, "old", ""), p.get(1, "new", "")} {
				var err error
				if text[i], err = r.str(x); err != nil {
					return nil, err
				}
			}
			return r.replace(text[0], text[1], text[2], n)
		},
		"reverse": func(r *run, v any, _ *params) (any, error) {
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
		},
		"round": func(r *run, v any, p *params) (any, error) {
			_, f, _, ok := number(v)
			if !ok {
				return nil, fmt.Errorf("type %s doesn't define __round__ method", typeName(v))
			}
			n, err := p.whole(0, "precision", 0)
			if err != nil {
				return nil, err
			}
			if n > 400 || n < -400 { // beyond what a float has
				return map[bool]float64{true: f, false: 0}[n > 0], nil
			}
			scale := math.Pow10(n)
			m, err := p.text(r, 1, "method", "common")
			if err != nil {
				return nil, err
			}
			switch m {
			case "ceil":
				return math.Ceil(f*scale) / scale, nil
			case "floor":
				return math.Floor(f*scale) / scale, nil
			case "common":
				if n < 0 {
					return math.RoundToEven(f*scale) / scale, nil
				}
				x, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', n, 64), 64)
				return x, err
			}
			return nil, &Error{Kind: "FilterArgumentError", Message: "method must be common, ceil or floor"}
		},
		"slice": func(r *run, v any, p *params) (any, error) {
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
		},
		"sort": func(r *run, v any, p *params) (any, error) {
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
		},
		"sum": func(r *run, v any, p *params) (any, error) {
			l, err := r.items(v)
			if err != nil {
				return nil, err
			}
			get, sum := r.getter(p.get(0, "attribute", nil), nil), p.get(1, "start", int64(0))
			for _, x := range l {
				a, err := get(x)
				if err != nil {
					return nil, err
				}
				if sum, err = r.operate("+", sum, a); err != nil {
					return nil, err
				}
			}
			return sum, nil
		},
		"tojson": func(r *run, v any, p *params) (any, error) {
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
		},
		"trim": func(r *run, v any, p *params) (any, error) {
			s, err := r.str(v)
			if err != nil {
				return nil, err
			}
			return stringMethods["strip"](r, s, &params{name: "strip", pos: []any{p.get(0, "chars", nil)}, kw: NewDict()})
		},
		"truncate": func(r *run, v any, p *params) (any, error) {
			n, err := p.whole(0, "length", 255)
			if err != nil {
				return nil, err
			}
			leeway, err := p.whole(3, "leeway", 5)
			if err != nil {
				return nil, err
			}
			s, err := r.str(v)
			if err != nil {
				return nil, err
			}
			tail, err := p.text(r, 2, "end", "...")
			if err != nil {
				return nil, err
			}
			if err := r.times(len(s), 6); err != nil {
				return nil, err
			}
			l := []rune(s)
			if len(l) <= n+leeway {
				return string(l), nil
			}
			cut := string(l[:max(n-utf8.RuneCountInString(tail), 0)])
			if !truth(p.get(1, "killwords", false)) {
				if i := strings.LastIndexByte(cut, ' '); i >= 0 {
					cut = cut[:i]
				}
			}
			return r.newString(cut + tail)
		},
		"unique": func(r *run, v any, p *params) (any, error) {
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
		},
		"wordcount": func(r *run, v any, _ *params) (any, error) {
			s, err := r.str(v)
			if err == nil {
				err = r.touch(len(s) / 4)
			}
			if err != nil {
				return nil, err
			}
			n, in := int64(0), false
			for _, c := range s {
				w := c == '_' || isAlnum(c)
				if w && !in {
					n++
				}
				in = w
			}
			return n, nil
		},
	}
	for alias, name := range map[string]string{"d": "default", "e": "escape", "count": "length"} {
		filterTable[alias] = filterTable[name]
	}
}
