package tokenize

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// hexEscape reads \x{20ac} or \x41.
func hexEscape(p string) (string, int, error) {
	if strings.HasPrefix(p, `\x{`) {
		k := strings.IndexByte(p, '}')
		var r rune
		if _, err := fmt.Sscanf(p[3:max(k, 3)], "%x", &r); err != nil {
			return "", 0, fmt.Errorf("%.8s is not a character", p)
		}
		return regexp2.Escape(string(r)), k + 1, nil
	}
	if len(p) < 4 {
		return "", 0, fmt.Errorf("%s is not a character", p)
	}
	return p[:4], 4, nil
}

// class1 reads a class of one escape at t.i, its body in regexp2's syntax; "" when the escape is not a class.
func (t *porter) class1() (body string, neg bool, err error) {
	if t.i+1 >= len(t.p) {
		return "", false, fmt.Errorf("it ends in a backslash")
	}
	c := t.p[t.i+1]
	name := map[byte]string{'w': "word", 'W': "word", 'd': "Nd", 'D': "Nd", 's': "space", 'S': "space", 'h': "xdigit", 'H': "xdigit"}[c]
	if name != "" {
		t.i += 2
		return classBody(name), c < 'a', nil
	}
	if c != 'p' && c != 'P' {
		return "", false, nil
	}
	rest := t.p[t.i+2:]
	if rest == "" {
		return "", false, fmt.Errorf(`\p has no name`)
	}
	n := 1
	name = rest[:1]
	if rest[0] == '{' {
		k := strings.IndexByte(rest, '}')
		if k < 0 {
			return "", false, fmt.Errorf(`\p{ does not end`)
		}
		name, n = rest[1:k], k+1
	}
	neg = c == 'P'
	if strings.HasPrefix(name, "^") {
		name, neg = name[1:], !neg
	}
	t.i += 2 + n
	body = classBody(name)
	if body == "" {
		return "", false, fmt.Errorf(`\p{%s} is not known`, name)
	}
	return body, neg, nil
}

// bracket reads [...] at t.i.
func (t *porter) bracket() (body string, neg bool, err error) {
	var sb strings.Builder
	t.i++
	if t.i < len(t.p) && t.p[t.i] == '^' {
		neg = true
		t.i++
	}
	for first := true; ; first = false {
		if t.i >= len(t.p) {
			return "", false, fmt.Errorf("[ does not end")
		}
		switch c := t.p[t.i]; {
		case c == ']' && !first:
			t.i++
			return sb.String(), neg, nil
		case strings.HasPrefix(t.p[t.i:], "[:"):
			b, err := t.posix()
			if err != nil {
				return "", false, err
			}
			sb.WriteString(b)
		case c == '[':
			in, n, err := t.bracket()
			if err != nil {
				return "", false, err
			}
			if n {
				return "", false, fmt.Errorf("a negated class in a class is not supported")
			}
			sb.WriteString(in)
		case strings.HasPrefix(t.p[t.i:], "&&"):
			return "", false, fmt.Errorf("&& in a class is not supported")
		case c == '\\':
			b, err := t.escaped()
			if err != nil {
				return "", false, err
			}
			sb.WriteString(b)
		default:
			r, n := utf8.DecodeRuneInString(t.p[t.i:])
			if c == ']' {
				sb.WriteString(`\]`)
			} else if t.fold && (r == 's' || r == 'k' || r == 'S' || r == 'K') {
				sb.WriteString(strings.Trim(t.literal(r), "[]"))
			} else {
				sb.WriteRune(r)
			}
			t.i += n
		}
	}
}

// posix reads [:name:] at t.i.
func (t *porter) posix() (string, error) {
	k := strings.Index(t.p[t.i:], ":]")
	if k < 0 {
		return "", fmt.Errorf("[: does not end")
	}
	name := t.p[t.i+2 : t.i+k]
	t.i += k + 2
	if strings.HasPrefix(name, "^") || classBody("onig_"+name) == "" && classBody(name) == "" {
		return "", fmt.Errorf("[:%s:] is not supported", name)
	}
	return cmp.Or(classBody("onig_"+name), classBody(name)), nil
}

// escaped reads what a backslash begins inside [...] at t.i.
func (t *porter) escaped() (string, error) {
	from := t.i
	b, n, err := t.class1()
	if err != nil {
		return "", err
	}
	if b != "" && n {
		if c := t.p[from+1]; c != 'S' && c != 'D' {
			return "", fmt.Errorf("%s in a class is not supported", t.p[from:t.i])
		}
		return t.p[from:t.i], nil // the same in regexp2 but for digits of newer scripts
	}
	if b != "" {
		return b, nil
	}
	if t.p[t.i+1] == 'x' {
		s, n, err := hexEscape(t.p[t.i:])
		t.i += n
		return s, err
	}
	r, size := utf8.DecodeRuneInString(t.p[t.i+1:])
	t.i += 1 + size
	return `\` + string(r), nil
}

// goClasses are classes that regexp2 has, and what they are in Go.
var goClasses = map[string][]*unicode.RangeTable{
	"word": {unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc},
}

// classBody is the inside of a class in regexp2's syntax, "" for an unknown name: Go's categories and the characters that Oniguruma has
// besides.
func classBody(name string) string {
	switch name {
	case "space":
		return `\s`
	case "xdigit":
		return "0-9a-fA-F"
	case "digit":
		name = "Nd"
	}
	tables, body := goClasses[name], ""
	if tables == nil {
		if rt := unicode.Categories[name]; rt != nil {
			tables = []*unicode.RangeTable{rt}
			body = `\p{` + name + `}`
		} else if rt := unicode.Scripts[name]; rt != nil {
			tables = []*unicode.RangeTable{rt}
			body = `\p{` + name + `}`
		}
	} else {
		body = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}`
	}
	key := name
	if name == "word" {
		key = "onig_word"
	}
	rs, ok := readClasses().ranges[key]
	if !ok {
		return body
	}
	var sb strings.Builder
	sb.WriteString(body)
	from := rune(-1)
	flush := func(end rune) {
		if from < 0 {
			return
		}
		sb.WriteString(classRune(from))
		if end > from {
			sb.WriteString("-" + classRune(end))
		}
		from = -1
	}
	for _, x := range rs {
		for r := x.lo; r <= x.hi; r++ {
			if len(tables) > 0 && unicode.In(r, tables...) {
				flush(r - 1)
			} else if from < 0 {
				from = r
			}
		}
		flush(x.hi)
	}
	return sb.String()
}

func classRune(r rune) string {
	if strings.ContainsRune(`\]^-[`, r) {
		return `\` + string(r)
	}
	return string(r)
}
