package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

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

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

// isUpper, isLower and isTitle want a letter that has a case.
func isUpper(s string) bool { return strings.ToUpper(s) == s && strings.ToLower(s) != s }

func isLower(s string) bool { return strings.ToLower(s) == s && strings.ToUpper(s) != s }

func isTitle(s string) bool { return s != "" && title(s) == s && strings.ToLower(s) != s }

func textIsASCII(r *run, s string, _ *params) (any, error) {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0, r.touch(len(s) / 4)
}

func textZeroFill(r *run, s string, p *params) (any, error) {
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
}

func textReplace(r *run, s string, p *params) (any, error) {
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
}

func textCount(r *run, s string, p *params) (any, error) {
	x, ok := p.get(0, "sub", nil).(string)
	if !ok {
		return nil, errors.New("count() argument 1 must be str")
	}
	if x == "" {
		return int64(utf8.RuneCountInString(s) + 1), r.read(len(s))
	}
	at, err := r.positions(s, x, -1)
	return int64(len(at)), err
}

func textJoin(r *run, s string, p *params) (any, error) {
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
}

func textRemovePrefix(r *run, s string, p *params) (any, error) {
	x, err := p.text(r, 0, "prefix", "")
	if err != nil {
		return nil, err
	}
	return strings.TrimPrefix(s, x), r.read(len(x))
}

func textRemoveSuffix(r *run, s string, p *params) (any, error) {
	x, err := p.text(r, 0, "suffix", "")
	if err != nil {
		return nil, err
	}
	return strings.TrimSuffix(s, x), r.read(len(x))
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
