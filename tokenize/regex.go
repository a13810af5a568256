package tokenize

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// regexTimeout bounds one search of a pattern that has no scanner of its own.
const regexTimeout = 10 * time.Second

// findRegex finds a pattern in Oniguruma's syntax; with empty, matches of no length too.
func findRegex(pattern string, empty bool) (finder, error) {
	ported, err := portPattern(pattern)
	if err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(ported, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re.MatchTimeout = regexTimeout
	return func(s string) ([]mspan, error) {
		var m []mspan
		from, runes, bytes := 0, 0, 0
		at := func(r int) int { // the byte of rune r; r never falls
			for ; runes < r; runes++ {
				_, n := utf8.DecodeRuneInString(s[bytes:])
				bytes += n
			}
			return bytes
		}
		start := time.Now()
		x, err := re.FindStringMatch(s)
		for ; x != nil && err == nil; x, err = re.FindNextMatch(x) {
			b := at(x.Index)
			e := at(x.Index + x.Length)
			if from < b {
				m = append(m, mspan{from, b, false})
			}
			if b < e || empty {
				m = append(m, mspan{b, e, true})
			}
			from = e
			if len(m)%256 == 0 && time.Since(start) > regexTimeout { // many searches, each just short of it
				err = errors.New("too slow")
				break
			}
		}
		if err != nil { // regexp2 knows no error but that of time, and writes the whole text into it
			return nil, fmt.Errorf("split pattern %.200q takes more than %s for a text of %d bytes: check it in tokenizer.json", pattern,
				regexTimeout, len(s))
		}
		if from < len(s) {
			m = append(m, mspan{from, len(s), false})
		}
		return m, nil
	}, nil
}

// portPattern rewrites an Oniguruma pattern for regexp2: \w, \b, \h and POSIX brackets mean other characters there, general categories
// follow another version of Unicode, possessive quantifiers are missing, and the long s and the Kelvin sign do not fold.
func portPattern(p string) (string, error) {
	t := porter{p: p}
	if err := t.run(); err != nil {
		return "", fmt.Errorf("pattern %q: %w", p, err)
	}
	return t.out.String(), nil
}

type porter struct {
	p     string
	i     int
	out   strings.Builder
	atom  int    // where the last atom begins in out, -1 none
	open  []int  // where the open groups begin in out
	fold  bool   // (?i) holds
	folds []bool // what held outside the open groups
}

func (t *porter) run() error {
	t.atom = -1
	for t.i < len(t.p) {
		c := t.p[t.i]
		at := t.out.Len()
		switch {
		case c == '\\':
			if err := t.escape(); err != nil {
				return err
			}
			t.atom = at
		case c == '[':
			body, neg, err := t.bracket()
			if err != nil {
				return err
			}
			if neg {
				t.out.WriteString("[^" + body + "]")
			} else {
				t.out.WriteString("[" + body + "]")
			}
			t.atom = at
		case c == '(':
			t.open, t.folds = append(t.open, at), append(t.folds, t.fold)
			end := t.i + 1
			if strings.HasPrefix(t.p[t.i:], "(?") {
				k := strings.IndexAny(t.p[t.i:], ":=!>)<")
				if k < 0 {
					return fmt.Errorf("group at %d does not end", t.i)
				}
				flags := t.p[t.i+2 : t.i+k]
				if on, off, _ := strings.Cut(flags, "-"); strings.Contains(on, "i") {
					t.fold = true
				} else if strings.Contains(off, "i") {
					t.fold = false
				}
				if t.p[t.i+k] == ')' { // (?i) holds to the end of the group around it
					t.open, t.folds = t.open[:len(t.open)-1], t.folds[:len(t.folds)-1]
				}
				end = t.i + k + 1
			}
			t.out.WriteString(t.p[t.i:end])
			t.i, t.atom = end, -1
		case c == ')':
			t.out.WriteByte(')')
			t.i++
			if n := len(t.open); n > 0 {
				t.atom, t.fold = t.open[n-1], t.folds[n-1]
				t.open, t.folds = t.open[:n-1], t.folds[:n-1]
			}
		case strings.IndexByte("*+?{", c) >= 0 && t.atom >= 0:
			t.quantifier()
		case c == '|' || c == '^' || c == '$':
			t.out.WriteByte(c)
			t.i++
			t.atom = -1
		default:
			r, n := utf8.DecodeRuneInString(t.p[t.i:])
			t.out.WriteString(t.literal(r))
			t.i += n
			t.atom = at
		}
	}
	return nil
}

// literal is r, or with (?i) the characters that regexp2 does not fold to it.
func (t *porter) literal(r rune) string {
	if t.fold {
		switch r {
		case 's', 'S', 'ſ':
			return "[sSſ]"
		case 'k', 'K', '\u212a':
			return "[kK\u212a]"
		}
	}
	return string(r)
}

func (t *porter) quantifier() {
	q := t.p[t.i : t.i+1]
	if q == "{" {
		k := strings.IndexByte(t.p[t.i:], '}')
		body := ""
		if k > 0 {
			body = t.p[t.i+1 : t.i+k]
		}
		if k < 0 || body == "" || strings.Trim(body, "0123456789,") != "" {
			t.out.WriteString(`\{`)
			t.i++
			return
		}
		if body[0] == ',' { // {,n} is {0,n}
			body = "0" + body
		}
		q = "{" + body + "}"
		t.i += k
	}
	t.i++
	next := byte(0)
	if t.i < len(t.p) {
		next = t.p[t.i]
	}
	if next == '+' && q[0] != '{' { // possessive
		atom := t.out.String()[t.atom:]
		head := t.out.String()[:t.atom]
		t.out.Reset()
		t.out.WriteString(head + "(?>" + atom + q + ")")
		t.i++
		return
	}
	t.out.WriteString(q)
	if next == '?' {
		t.out.WriteByte('?')
		t.i++
	}
	t.atom = -1
	if next == '+' { // {n}+ repeats, in Oniguruma
		t.out.WriteByte('+')
		t.i++
	}
}

// escape writes what begins with a backslash outside a class.
func (t *porter) escape() error {
	body, neg, err := t.class1()
	if err != nil {
		return err
	}
	if body != "" {
		if neg {
			body = "[^" + body + "]"
		} else {
			body = "[" + body + "]"
		}
		t.out.WriteString(body)
		return nil
	}
	c := t.p[t.i+1]
	switch c {
	case 'b', 'B':
		w := classBody("word")
		if c == 'b' {
			t.out.WriteString("(?:(?<=[" + w + "])(?![" + w + "])|(?<![" + w + "])(?=[" + w + "]))")
		} else {
			t.out.WriteString("(?:(?<=[" + w + "])(?=[" + w + "])|(?<![" + w + "])(?![" + w + "]))")
		}
		t.i += 2
	case 'x':
		s, n, err := hexEscape(t.p[t.i:])
		if err != nil {
			return err
		}
		t.out.WriteString(s)
		t.i += n
	default:
		r, n := utf8.DecodeRuneInString(t.p[t.i+1:])
		t.out.WriteByte('\\')
		t.out.WriteRune(r)
		t.i += 1 + n
	}
	return nil
}

// hexEscape reads \x{20ac} or \x41.
func hexEscape(p string) (string, int, error) {
	if strings.HasPrefix(p, `\x{`) {
		k := strings.IndexByte(p, '}')
		var r rune
		if _, err := fmt.Sscanf(p[3:max(k, 3)], "%x", &r); err != nil {
			return "", 0, fmt.Errorf("%.8s is no character", p)
		}
		return regexp2.Escape(string(r)), k + 1, nil
	}
	if len(p) < 4 {
		return "", 0, fmt.Errorf("%s is no character", p)
	}
	return p[:4], 4, nil
}

// class1 reads a class of one escape at t.i, its body in regexp2's syntax; "" when the escape is no class.
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
