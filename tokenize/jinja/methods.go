package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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
			return nil, &Error{Kind: "SecurityError", Message: fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe.", name, typeName(v))}
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

// strip makes a method that strips by trim, white space without an argument.
func strip(trim func(s string, f func(rune) bool) string) stringMethod {
	return func(r *run, s string, p *params) (any, error) {
		switch c := p.get(0, "chars", nil).(type) {
		case nil:
			t := trim(s, space)
			return t, r.touch((len(s) - len(t)) / 4)
		case string:
			if err := r.times(len(c), 8); err != nil {
				return nil, err
			}
			set := map[rune]bool{}
			for _, x := range c {
				set[x] = true
			}
			t := trim(s, func(r rune) bool { return set[r] })
			return t, r.touch((len(s) - len(t)) / 4)
		}
		return nil, fmt.Errorf("%s arg must be None or str", p.name)
	}
}

func mapString(f func(string) string) stringMethod {
	return func(r *run, s string, _ *params) (any, error) {
		if err := r.mapping(len(s)); err != nil {
			return nil, err
		}
		return r.newString(f(s))
	}
}

// mapping charges for what maps n bytes character by character, and makes on its way.
func (r *run) mapping(n int) error {
	if err := r.charge(n); err != nil {
		return err
	}
	return r.touch(n / 4)
}

// every tells whether s has a character and all satisfy f.
func every(f func(rune) bool) stringMethod {
	return func(r *run, s string, _ *params) (any, error) {
		if err := r.touch(len(s) / 4); err != nil {
			return nil, err
		}
		for _, c := range s {
			if !f(c) {
				return false, nil
			}
		}
		return s != "", nil
	}
}

// cased tells something of a text's upper and lower case.
func cased(f func(string) bool) stringMethod {
	return func(r *run, s string, _ *params) (any, error) {
		if err := r.mapping(4 * len(s)); err != nil { // two copies, of which a character may grow
			return nil, err
		}
		return f(s), nil
	}
}

// affix is startswith and endswith, of one text or of any of a tuple.
func affix(has func(s, x string) bool) stringMethod {
	return func(r *run, s string, p *params) (any, error) {
		a := p.get(0, "", nil)
		start, err := p.whole(1, "start", 0)
		if err != nil {
			return nil, err
		}
		if start > 0 {
			from := int64(start)
			t, err := r.part(s, [3]*int64{&from})
			if err != nil {
				return nil, err
			}
			s = t.(string)
		}
		list := []any{a}
		if l, ok := a.(*List); ok && l.Tuple {
			list = l.Items
		}
		for _, x := range list {
			t, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("%s first arg must be str or a tuple of str, not %s", p.name, typeName(x))
			}
			if err := r.touch(1 + min(len(s), len(t))>>4); err != nil {
				return nil, err
			}
			if has(s, t) {
				return true, nil
			}
		}
		return false, nil
	}
}

func find(index func(r *run, s, x string) (int, error), must bool) stringMethod {
	return func(r *run, s string, p *params) (any, error) {
		x, ok := p.get(0, "sub", nil).(string)
		if !ok {
			return nil, fmt.Errorf("%s() argument 1 must be str", p.name)
		}
		i, err := index(r, s, x)
		if err != nil {
			return nil, err
		}
		if i < 0 {
			if must {
				return nil, &Error{Kind: "ValueError", Message: "substring not found"}
			}
			return int64(-1), nil
		}
		return int64(utf8.RuneCountInString(s[:i])), r.read(i)
	}
}

func split(right bool) stringMethod {
	return func(r *run, s string, p *params) (any, error) {
		n, err := p.whole(1, "maxsplit", -1)
		if err != nil {
			return nil, err
		}
		var parts []string
		switch sep := p.get(0, "sep", nil).(type) {
		case nil:
			if err := r.touch(len(s) / 4); err != nil {
				return nil, err
			}
			if err := r.times(strings.Count(s, " ")+1, itemSize); err != nil {
				return nil, err
			}
			if right {
				parts = splitSpaceRight(s, n)
			} else {
				parts = splitSpace(s, n)
			}
		case string:
			if sep == "" {
				return nil, &Error{Kind: "ValueError", Message: "empty separator"}
			}
			at, err := r.split(s, sep, n, right)
			if err != nil {
				return nil, err
			}
			if err := r.room(len(at) + 1); err != nil {
				return nil, err
			}
			parts = cut(s, at, len(sep))
		default:
			return nil, fmt.Errorf("must be str or None, not %s", typeName(sep))
		}
		return r.texts(parts)
	}
}

// split are the places at which a text is split: all where n < 0, else the first n, or the last.
func (r *run) split(s, sep string, n int, right bool) ([]int, error) {
	if !right || n < 0 {
		return r.positions(s, sep, n)
	}
	// Found from the right, since they might overlap.
	var at []int
	for rest := s; n > 0; n-- {
		i, err := r.findLast(rest, sep)
		if err != nil || i < 0 {
			slices.Reverse(at)
			return at, err
		}
		if err := r.charge(16); err != nil {
			return nil, err
		}
		at, rest = append(at, i), rest[:i]
	}
	slices.Reverse(at)
	return at, nil
}

func (r *run) texts(parts []string) (any, error) {
	if err := r.room(len(parts)); err != nil {
		return nil, err
	}
	l := make([]any, len(parts))
	for i, x := range parts {
		l[i] = x
	}
	return &List{Items: l}, nil
}

func splitSpace(s string, n int) (out []string) {
	s = strings.TrimLeftFunc(s, space)
	for s != "" {
		i := strings.IndexFunc(s, space)
		if i < 0 || n == 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = strings.TrimLeftFunc(s[i:], space)
		n--
	}
	return out
}

func splitSpaceRight(s string, n int) (out []string) {
	s = strings.TrimRightFunc(s, space)
	for s != "" {
		i := strings.LastIndexFunc(s, space)
		if i < 0 || n == 0 {
			out = append(out, s)
			break
		}
		_, m := utf8.DecodeRuneInString(s[i:])
		out = append(out, s[i+m:])
		s = strings.TrimRightFunc(s[:i], space)
		n--
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func title(s string) string {
	var sb strings.Builder
	in := false
	for _, r := range s {
		if in {
			sb.WriteRune(unicode.ToLower(r))
		} else {
			sb.WriteRune(unicode.ToTitle(r))
		}
		in = unicode.IsLetter(r)
	}
	return sb.String()
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + lower(s[n:])
}

// upper and lower are Python's, which have characters of several.
func upper(s string) string { return strings.ToUpper(severalUpper.Replace(s)) }

var severalUpper = strings.NewReplacer("ß", "SS", "ﬁ", "FI", "ﬂ", "FL", "ŉ", "ʼN", "ﬀ", "FF")

func lower(s string) string { return strings.ToLower(strings.ReplaceAll(s, "İ", "i̇")) }

func justify(left, right bool) stringMethod {
	return func(r *run, s string, p *params) (any, error) {
		n, err := p.whole(0, "width", 0)
		if err != nil {
			return nil, err
		}
		fill, ok := p.get(1, "fillchar", " ").(string)
		if !ok || utf8.RuneCountInString(fill) != 1 {
			//lint:ignore ST1005 Python's own words, which templates' users know
			return nil, errors.New("The fill character must be exactly one character long")
		}
		if err := r.read(len(s)); err != nil {
			return nil, err
		}
		have := utf8.RuneCountInString(s)
		if n <= have {
			return s, nil
		}
		n -= have
		if err := r.times(n, 2*len(fill)); err != nil {
			return nil, err
		}
		if err := r.charge(len(s)); err != nil {
			return nil, err
		}
		l, e := 0, n
		if left && right {
			l = n/2 + (n & (utf8.RuneCountInString(s) + n) & 1)
			e = n - l
		} else if left {
			l, e = n, 0
		}
		return strings.Repeat(fill, l) + s + strings.Repeat(fill, e), nil
	}
}

var stringMethods map[string]stringMethod

func init() {
	stringMethods = map[string]stringMethod{
		"strip": strip(strings.TrimFunc), "lstrip": strip(strings.TrimLeftFunc), "rstrip": strip(strings.TrimRightFunc),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"find": find((*run).find, false), "rfind": find((*run).findLast, false), "index": find((*run).find, true), "rindex": find((*run).findLast, true),
		"split": split(false), "rsplit": split(true),
		"upper": mapString(upper), "lower": mapString(lower), "title": mapString(title), "capitalize": mapString(capitalize), "casefold": mapString(lower),
		"swapcase": mapString(func(s string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsUpper(r) {
					return unicode.ToLower(r)
				}
				return unicode.ToUpper(r)
			}, s)
		}),
		"isdigit": every(unicode.IsDigit), "isdecimal": every(unicode.IsDigit), "isnumeric": every(unicode.IsNumber), "isspace": every(space), "isalpha": every(unicode.IsLetter),
		"isalnum": every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": cased(func(s string) bool { return strings.ToUpper(s) == s && strings.ToLower(s) != s }),
		"islower": cased(func(s string) bool { return strings.ToLower(s) == s && strings.ToUpper(s) != s }),
		"istitle": cased(func(s string) bool { return s != "" && title(s) == s && strings.ToLower(s) != s }),
		"isascii": func(r *run, s string, _ *params) (any, error) {
			return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0, r.touch(len(s) / 4)
		},
		"ljust": justify(false, true), "rjust": justify(true, false), "center": justify(true, true),
		"zfill": func(r *run, s string, p *params) (any, error) {
			n, err := p.whole(0, "width", 0)
			if err != nil {
				return nil, err
			}
			if err := r.read(len(s)); err != nil {
				return nil, err
			}
			have := utf8.RuneCountInString(s)
			if n <= have {
				return s, nil
			}
			n -= have
			if err := r.times(n, 2); err != nil {
				return nil, err
			}
			if err := r.charge(len(s)); err != nil {
				return nil, err
			}
			if s != "" && (s[0] == '-' || s[0] == '+') {
				return s[:1] + strings.Repeat("0", n) + s[1:], nil
			}
			return strings.Repeat("0", n) + s, nil
		},
		"splitlines": func(r *run, s string, p *params) (any, error) {
			keep := truth(p.get(0, "keepends", false))
			if err := r.touch(len(s)); err != nil {
				return nil, err
			}
			var parts []string
			for s != "" {
				if err := r.charge(itemSize); err != nil {
					return nil, err
				}
				i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
				if i < 0 {
					parts = append(parts, s)
					break
				}
				_, n := utf8.DecodeRuneInString(s[i:])
				if strings.HasPrefix(s[i:], "\r\n") {
					n = 2
				}
				if keep {
					parts = append(parts, s[:i+n])
				} else {
					parts = append(parts, s[:i])
				}
				s = s[i+n:]
			}
			return r.texts(parts)
		},
		"replace": func(r *run, s string, p *params) (any, error) {
			old, ok1 := p.get(0, "old", nil).(string)
			to, ok2 := p.get(1, "new", nil).(string)
			if !ok1 || !ok2 {
				return nil, errors.New("replace() argument must be str")
			}
			n, err := p.whole(2, "count", -1)
			if err != nil {
				return nil, err
			}
			return r.replace(s, old, to, n)
		},
		"count": func(r *run, s string, p *params) (any, error) {
			x, ok := p.get(0, "sub", nil).(string)
			if !ok {
				return nil, errors.New("count() argument 1 must be str")
			}
			if x == "" {
				return int64(utf8.RuneCountInString(s) + 1), r.read(len(s))
			}
			at, err := r.positions(s, x, -1)
			return int64(len(at)), err
		},
		"join": func(r *run, s string, p *params) (any, error) {
			l, err := r.items(p.get(0, "iterable", nil))
			if err != nil {
				return nil, err
			}
			if err := r.times(len(l), 16+len(s)); err != nil {
				return nil, err
			}
			var parts []string
			for i, x := range l {
				t, ok := x.(string)
				if !ok {
					return nil, fmt.Errorf("sequence item %d: expected str instance, %s found", i, typeName(x))
				}
				if err := r.charge(len(t)); err != nil {
					return nil, err
				}
				parts = append(parts, t)
			}
			return strings.Join(parts, s), nil
		},
		"removeprefix": func(r *run, s string, p *params) (any, error) {
			x, err := p.text(r, 0, "prefix", "")
			if err != nil {
				return nil, err
			}
			return strings.TrimPrefix(s, x), r.read(len(x))
		},
		"removesuffix": func(r *run, s string, p *params) (any, error) {
			x, err := p.text(r, 0, "suffix", "")
			if err != nil {
				return nil, err
			}
			return strings.TrimSuffix(s, x), r.read(len(x))
		},
		"partition": func(r *run, s string, p *params) (any, error) {
			i, sep, err := r.border(s, p, (*run).find)
			if err != nil {
				return nil, err
			}
			if i < 0 {
				return &List{[]any{s, "", ""}, true}, nil
			}
			return &List{[]any{s[:i], sep, s[i+len(sep):]}, true}, nil
		},
		"rpartition": func(r *run, s string, p *params) (any, error) {
			i, sep, err := r.border(s, p, (*run).findLast)
			if err != nil {
				return nil, err
			}
			if i < 0 {
				return &List{[]any{"", "", s}, true}, nil
			}
			return &List{[]any{s[:i], sep, s[i+len(sep):]}, true}, nil
		},
		"format": func(r *run, s string, p *params) (any, error) { return r.format(s, p) },
	}
}

// border finds where partition and rpartition part a text.
func (r *run) border(s string, p *params, index func(r *run, s, x string) (int, error)) (int, string, error) {
	sep, err := p.text(r, 0, "sep", "")
	if err != nil {
		return 0, "", err
	}
	if sep == "" {
		return 0, "", &Error{Kind: "ValueError", Message: "empty separator"}
	}
	if err := r.room(3); err != nil {
		return 0, "", err
	}
	i, err := index(r, s, sep)
	return i, sep, err
}

// replace is str.replace; an empty old stands between all characters.
func (r *run) replace(s, old, to string, n int) (any, error) {
	if old == "" {
		count := utf8.RuneCountInString(s) + 1
		if n >= 0 {
			count = min(count, n)
		}
		if err := r.times(count, len(to)+1); err != nil {
			return nil, err
		}
		if err := r.charge(len(s)); err != nil {
			return nil, err
		}
		return strings.Replace(s, old, to, n), nil
	}
	at, err := r.positions(s, old, n)
	if err != nil || len(at) == 0 {
		return s, err
	}
	if err := r.times(len(at), len(to)+16); err != nil {
		return nil, err
	}
	if err := r.charge(len(s)); err != nil {
		return nil, err
	}
	return strings.Join(cut(s, at, len(old)), to), nil
}

// format is str.format with plain fields: {}, {0}, {name}. Attributes, items and formats are refused.
func (r *run) format(s string, p *params) (any, error) {
	if err := r.touch(len(s) / 4); err != nil {
		return nil, err
	}
	if err := r.charge(len(s)); err != nil { // what stands between the fields
		return nil, err
	}
	var sb strings.Builder
	auto := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			sb.WriteByte(c)
			i++
		case c == '}':
			return nil, &Error{Kind: "ValueError", Message: "Single '}' encountered in format string"}
		case c == '{':
			k := strings.IndexByte(s[i:], '}')
			if k < 0 {
				return nil, &Error{Kind: "ValueError", Message: "expected '}' before end of string"}
			}
			field := s[i+1 : i+k]
			i += k
			if strings.ContainsAny(field, ".[]:!{") {
				return nil, &Error{Kind: "SecurityError", Message: "the format field {" + brief(field) + "} is not supported"}
			}
			var v any
			n, err := strconv.Atoi(field)
			switch {
			case field == "":
				n, auto = auto, auto+1
				fallthrough
			case err == nil:
				if n < 0 || n >= len(p.pos) {
					return nil, &Error{Kind: "IndexError", Message: "Replacement index " + strconv.Itoa(n) + " out of range for positional args tuple"}
				}
				v = p.pos[n]
			default:
				x, ok := p.kw.Get(field)
				if !ok {
					return nil, &Error{Kind: "KeyError", Message: brief(field)}
				}
				v = x
			}
			t, err := r.str(v)
			if err != nil {
				return nil, err
			}
			if err := r.charge(len(t)); err != nil {
				return nil, err
			}
			sb.WriteString(t)
		default:
			sb.WriteByte(c)
		}
	}
	return sb.String(), nil
}

// percent is Python's s % v with the conversions s, r, d, i, f, x, o, e, g and %%.
func (r *run) percent(s string, v any) (any, error) {
	args := []any{v}
	if l, ok := v.(*List); ok && l.Tuple {
		args = l.Items
	}
	if err := r.touch(len(s) / 4); err != nil {
		return nil, err
	}
	if err := r.charge(len(s)); err != nil { // what stands between the fields
		return nil, err
	}
	var sb strings.Builder
	next := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			sb.WriteByte(s[i])
			continue
		}
		j := i + 1
		var arg any
		named := false
		if j < len(s) && s[j] == '(' {
			k := strings.IndexByte(s[j:], ')')
			d, ok := v.(*Dict)
			if k < 0 || !ok {
				return nil, errors.New("format requires a mapping")
			}
			x, ok, err := r.get(d, s[j+1:j+k])
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, &Error{Kind: "KeyError", Message: brief(s[j+1 : j+k])}
			}
			arg, named = x, true
			j += k + 1
		}
		from := j
		for j < len(s) && strings.IndexByte("-+ #0123456789.", s[j]) >= 0 {
			j++
		}
		if j == len(s) {
			return nil, &Error{Kind: "ValueError", Message: "incomplete format"}
		}
		flags, c := s[from:j], s[j]
		i = j
		if c == '%' {
			sb.WriteByte('%')
			continue
		}
		if !named {
			if next >= len(args) {
				return nil, errors.New("not enough arguments for format string")
			}
			arg = args[next]
			next++
		}
		if len(flags) > 20 {
			return nil, limit("a field has the flags %s", brief(flags))
		}
		for _, n := range strings.FieldsFunc(flags, func(r rune) bool { return r < '0' || r > '9' }) {
			if len(n) > 4 {
				return nil, limit("a field is %s wide", n)
			}
		}
		n, f, whole, ok := number(arg)
		t := ""
		switch c {
		case 's', 'r':
			text := r.str
			if c == 'r' {
				text = r.repr
			}
			var err error
			if t, err = text(arg); err != nil {
				return nil, err
			}
			if flags != "" {
				if err := r.touch(len(t) / 4); err != nil {
					return nil, err
				}
				t = fmt.Sprintf("%"+flags+"s", t)
			}
		case 'd', 'i', 'u', 'x', 'X', 'o':
			if !ok {
				return nil, fmt.Errorf("%%%c format: a real number is required, not %s", c, typeName(arg))
			}
			if !whole {
				n = int64(f)
			}
			if c == 'i' || c == 'u' {
				c = 'd'
			}
			t = fmt.Sprintf("%"+flags+string(c), n)
		case 'f', 'F', 'e', 'E', 'g', 'G':
			if !ok {
				return nil, fmt.Errorf("must be real number, not %s", typeName(arg))
			}
			if (c == 'g' || c == 'G') && !strings.Contains(flags, ".") {
				flags += ".6"
			}
			t = fmt.Sprintf("%"+flags+string(c), f)
		default:
			return nil, &Error{Kind: "ValueError", Message: fmt.Sprintf("unsupported format character '%c'", c)}
		}
		if err := r.charge(len(t)); err != nil {
			return nil, err
		}
		sb.WriteString(t)
	}
	if _, isDict := v.(*Dict); next < len(args) && !isDict {
		return nil, errors.New("not all arguments converted during string formatting")
	}
	return sb.String(), nil
}
