package tokenize

import (
	"errors"
	"fmt"
	"strings"
	"time"
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
