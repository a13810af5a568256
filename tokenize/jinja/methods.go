package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// method is a method of Python's that v has, nil when it has none of that name. Those that change a value are refused when they are called.
func method(v any, name string) any {
	var f func(r *run, p *params) (any, error)
	switch x := v.(type) {
	case string:
		if m := stringMethods[name]; m != nil {
			f = func(r *run, p *params) (any, error) { return m(r, x, p) }
		}
	case *Dict:
		if m := dictMethods[name]; m != nil {
			f = func(r *run, p *params) (any, error) { return m(r, x, p) }
		}
	case *List:
		if m := listMethods[name]; m != nil {
			f = func(r *run, p *params) (any, error) { return m(r, x, p) }
		}
	}
	if f == nil && inList(mutators[typeName(v)], name) {
		f = func(*run, *params) (any, error) {
			return nil, &Error{Kind: "SecurityError",
				Message: fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe.", name, typeName(v))}
		}
	}
	if f == nil {
		return nil
	}
	return &function{name, func(r *run, args []any, kw *Dict) (any, error) { return f(r, &params{name: name, pos: args, kw: kw}) }}
}

var mutators = map[string][]string{
	"list": {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"},
	"dict": {"clear", "pop", "popitem", "setdefault", "update"},
}

var dictMethods = map[string]func(r *run, d *Dict, p *params) (any, error){
	"items": func(r *run, d *Dict, _ *params) (any, error) {
		if err := r.times(d.Len(), listSize+3*itemSize); err != nil {
			return nil, err
		}
		l := make([]any, 0, d.Len())
		for _, k := range d.keys {
			l = append(l, &List{[]any{k, d.m[k]}, true})
		}
		return &List{Items: l}, r.charge(listSize)
	},
	"keys": func(r *run, d *Dict, _ *params) (any, error) { return r.list(append([]any{}, d.keys...)) },
	"values": func(r *run, d *Dict, _ *params) (any, error) {
		if err := r.touch(d.Len()); err != nil {
			return nil, err
		}
		l := make([]any, 0, d.Len())
		for _, k := range d.keys {
			l = append(l, d.m[k])
		}
		return r.list(l)
	},
	"get": func(r *run, d *Dict, p *params) (any, error) {
		if len(p.pos) == 0 {
			return nil, errors.New("get expected at least 1 argument, got 0")
		}
		if v, ok, err := r.get(d, p.pos[0]); ok || err != nil {
			return v, err
		}
		return p.get(1, "default", nil), nil
	},
	"copy": func(r *run, d *Dict, _ *params) (any, error) { return d, nil },
}

var listMethods = map[string]func(r *run, l *List, p *params) (any, error){
	"index": func(r *run, l *List, p *params) (any, error) {
		for i, v := range l.Items {
			if same, err := r.equal(v, p.get(0, "", nil)); err != nil {
				return nil, err
			} else if same {
				return int64(i), nil
			}
		}
		return nil, &Error{Kind: "ValueError", Message: brief(p.get(0, "", nil)) + " is not in list"}
	},
	"count": func(r *run, l *List, p *params) (any, error) {
		n := int64(0)
		for _, v := range l.Items {
			if same, err := r.equal(v, p.get(0, "", nil)); err != nil {
				return nil, err
			} else if same {
				n++
			}
		}
		return n, nil
	},
	"copy": func(_ *run, l *List, _ *params) (any, error) { return l, nil },
}

type stringMethod func(r *run, s string, p *params) (any, error)

// stringMethods are the methods of str by name.
var stringMethods = map[string]stringMethod{
	"strip": strip(strings.TrimFunc), "lstrip": strip(strings.TrimLeftFunc), "rstrip": strip(strings.TrimRightFunc),
	"removeprefix": textRemovePrefix, "removesuffix": textRemoveSuffix,
	"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
	"find": find((*run).find, false), "rfind": find((*run).findLast, false), "index": find((*run).find, true),
	"rindex": find((*run).findLast, true),
	"count":  textCount, "replace": textReplace, "join": textJoin, "format": (*run).format,
	"split": split(false), "rsplit": split(true), "splitlines": textSplitLines, "partition": textPartition,
	"rpartition": textRightPartition,
	"upper":      mapString(upper), "lower": mapString(lower), "title": mapString(title), "capitalize": mapString(capitalize),
	"casefold": mapString(lower), "swapcase": mapString(swapCase),
	"ljust": justify(false, true), "rjust": justify(true, false), "center": justify(true, true), "zfill": textZeroFill,
	"isdigit": every(unicode.IsDigit), "isdecimal": every(unicode.IsDigit), "isnumeric": every(unicode.IsNumber), "isspace": every(space),
	"isalpha": every(unicode.IsLetter), "isalnum": every(isAlnum), "isascii": textIsASCII,
	"isupper": cased(isUpper), "islower": cased(isLower), "istitle": cased(isTitle),
}
