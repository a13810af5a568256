package jinja

import (
	"fmt"
	"strings"
)

type kind uint8

const (
	tData kind = iota
	tBlockBegin
	tBlockEnd
	tVarBegin
	tVarEnd
	tName
	tString
	tInt
	tFloat
	tOp
	tEOF
)

type token struct {
	kind kind
	val  string
	line int
}

func (t token) String() string {
	switch t.kind {
	case tEOF:
		return "end of template"
	case tBlockEnd:
		return "end of statement block"
	case tVarEnd:
		return "end of print statement"
	}
	return fmt.Sprintf("%.60q", t.val)
}

// lexer cuts a template as Jinja does with trim_blocks and lstrip_blocks.
type lexer struct {
	s         string
	i, line   int
	lineStart bool // no text stands before i on its line
	out       []token
}

func syntax(line int, format string, a ...any) error {
	return &Error{Kind: "TemplateSyntaxError", Message: fmt.Sprintf(format, a...), Line: line}
}

func lex(source string) ([]token, error) {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	l := &lexer{s: strings.TrimSuffix(source, "\n"), line: 1, lineStart: true}
	for l.i < len(l.s) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return append(l.out, token{tEOF, "", l.line}), nil
}

// skip takes n bytes.
func (l *lexer) skip(n int) string {
	x := l.s[l.i : l.i+n]
	l.line += strings.Count(x, "\n")
	l.i += n
	if n > 0 {
		l.lineStart = x[n-1] == '\n'
	}
	return x
}

func (l *lexer) skipSpace() {
	l.skip(len(l.s[l.i:]) - len(strings.TrimLeftFunc(l.s[l.i:], space)))
}

// next takes text and what follows it: a comment, a raw block, a statement or an expression.
func (l *lexer) next() error {
	rest := l.s[l.i:]
	at := -1
	for j := 0; j+1 < len(rest); j++ {
		k := strings.IndexByte(rest[j:], '{')
		if k < 0 {
			break
		}
		j += k
		if j+1 < len(rest) && strings.IndexByte("{%#", rest[j+1]) >= 0 {
			at = j
			break
		}
	}
	if at < 0 {
		l.data(rest)
		l.skip(len(rest))
		return nil
	}
	text, sign := rest[:at], byte(0)
	if at+2 < len(rest) && (rest[at+2] == '-' || rest[at+2] == '+') {
		sign = rest[at+2]
	}
	what := rest[at+1]
	if what == '{' && sign == '+' {
		sign = 0
	}
	startsLine := l.lineStart
	full := text
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, space)
	case sign != '+' && what != '{':
		n := strings.LastIndexByte(text, '\n') + 1
		if (n > 0 || startsLine) && strings.TrimLeftFunc(text[n:], space) == "" {
			text = text[:n]
		}
	}
	l.data(text)
	l.skip(len(full))
	l.skip(2)
	if sign != 0 {
		l.skip(1)
	}
	line := l.line
	switch what {
	case '#':
		k := strings.Index(l.s[l.i:], "#}")
		if k < 0 {
			return syntax(line, "Missing end of comment tag")
		}
		trim := k > 0 && l.s[l.i+k-1] == '-'
		plus := k > 0 && l.s[l.i+k-1] == '+'
		l.skip(k + 2)
		l.after(trim, plus)
		return nil
	case '%':
		if n := rawTag(l.s[l.i:], "raw"); n > 0 {
			tag := l.skip(n)
			if strings.HasSuffix(tag, "-%}") {
				l.skipSpace()
			}
			return l.raw(line)
		}
		l.out = append(l.out, token{tBlockBegin, "", line})
	default:
		l.out = append(l.out, token{tVarBegin, "", line})
	}
	return l.inside(what == '%')
}

// after takes the white space after a tag: all of it, or the first line end.
func (l *lexer) after(trim, plus bool) {
	if trim {
		l.skipSpace()
	} else if !plus && strings.HasPrefix(l.s[l.i:], "\n") {
		l.skip(1)
	}
}

func (l *lexer) data(s string) {
	if s != "" {
		l.out = append(l.out, token{tData, s, l.line})
	}
}

// rawTag is the length of ` raw %}` at the start of s, 0 when it is something else.
func rawTag(s, name string) int {
	t := strings.TrimLeftFunc(s, space)
	if !strings.HasPrefix(t, name) {
		return 0
	}
	t = strings.TrimLeftFunc(t[len(name):], space)
	for _, end := range []string{"-%}", "+%}", "%}"} {
		if strings.HasPrefix(t, end) {
			return len(s) - len(t) + len(end)
		}
	}
	return 0
}

func (l *lexer) raw(line int) error {
	for from := l.i; ; {
		k := strings.Index(l.s[from:], "{%")
		if k < 0 {
			return syntax(line, "Missing end of raw directive")
		}
		at := from + k
		from = at + 2
		sign := byte(0)
		j := at + 2
		if j < len(l.s) && (l.s[j] == '-' || l.s[j] == '+') {
			sign = l.s[j]
			j++
		}
		n := rawTag(l.s[j:], "endraw")
		if n == 0 {
			continue
		}
		text := l.s[l.i:at]
		if sign == '-' {
			text = strings.TrimRightFunc(text, space)
		} else if sign == 0 {
			p := strings.LastIndexByte(text, '\n') + 1
			if p > 0 && strings.TrimLeftFunc(text[p:], space) == "" {
				text = text[:p]
			}
		}
		l.data(text)
		tag := l.skip(j + n - l.i)
		l.after(strings.HasSuffix(tag, "-%}"), strings.HasSuffix(tag, "+%}"))
		return nil
	}
}
