package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
	":", "|", ",", ";"}

// inside takes the tokens of a statement or an expression and its end.
func (l *lexer) inside(block bool) error {
	var open []byte
	end, kindEnd := "}}", tVarEnd
	if block {
		end, kindEnd = "%}", tBlockEnd
	}
	for {
		l.skipSpace()
		rest := l.s[l.i:]
		if rest == "" {
			return syntax(l.line, "unexpected end of template")
		}
		if len(open) == 0 {
			for _, sign := range []string{"-", "+", ""} {
				if sign == "+" && !block || !strings.HasPrefix(rest, sign+end) {
					continue
				}
				line := l.line
				l.skip(len(sign) + 2)
				if sign == "-" || block {
					l.after(sign == "-", sign == "+")
				}
				l.out = append(l.out, token{kindEnd, "", line})
				return nil
			}
		}
		var err error
		switch r, _ := utf8.DecodeRuneInString(rest); {
		case numberLen(rest) > 0:
			l.number(rest)
		case r == '_' || unicode.IsLetter(r):
			l.word(rest)
		case r == '\'' || r == '"':
			err = l.quoted(rest)
		default:
			open, err = l.operator(rest, open)
		}
		if err != nil {
			return err
		}
	}
}

// number takes a number.
func (l *lexer) number(rest string) {
	n, k, line := numberLen(rest), tInt, l.line
	if strings.ContainsAny(rest[:n], ".eE") && !strings.HasPrefix(rest, "0x") && !strings.HasPrefix(rest, "0X") {
		k = tFloat
	}
	l.out = append(l.out, token{k, strings.ReplaceAll(l.skip(n), "_", ""), line})
}

// word takes a name.
func (l *lexer) word(rest string) {
	line := l.line
	n := strings.IndexFunc(rest, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
	if n < 0 {
		n = len(rest)
	}
	l.out = append(l.out, token{tName, l.skip(n), line})
}

// quoted takes a text in quotation marks.
func (l *lexer) quoted(rest string) error {
	line, n := l.line, 1
	for ; n < len(rest) && rest[n] != rest[0]; n++ {
		if rest[n] == '\\' {
			n++
		}
	}
	if n >= len(rest) {
		return syntax(line, "unexpected char %q", rest[:1])
	}
	s, err := unescape(rest[1:n])
	if err != nil {
		return syntax(line, "%v", err)
	}
	l.skip(n + 1)
	l.out = append(l.out, token{tString, s, line})
	return nil
}

// operator takes an operator or a bracket; open are the brackets to close, before and after.
func (l *lexer) operator(rest string, open []byte) ([]byte, error) {
	line, op := l.line, ""
	for _, o := range operators {
		if strings.HasPrefix(rest, o) {
			op = o
			break
		}
	}
	switch op {
	case "":
		r, _ := utf8.DecodeRuneInString(rest)
		return nil, syntax(line, "unexpected char %q", string(r))
	case "(", "[", "{":
		open = append(open, map[string]byte{"(": ')', "[": ']', "{": '}'}[op])
	case ")", "]", "}":
		if len(open) == 0 || open[len(open)-1] != op[0] {
			return nil, syntax(line, "unexpected '%s'", op)
		}
		open = open[:len(open)-1]
	}
	if len(open) > maxDepth {
		return nil, syntax(line, "brackets nest deeper than %d", maxDepth)
	}
	l.skip(len(op))
	l.out = append(l.out, token{tOp, op, line})
	return open, nil
}

// numberLen is the length of a number at the start of s.
func numberLen(s string) int {
	if s[0] < '0' || s[0] > '9' {
		return 0
	}
	digits := func(i int, ok func(byte) bool) int {
		for i < len(s) && (ok(s[i]) || s[i] == '_' && i+1 < len(s) && ok(s[i+1])) {
			i++
		}
		return i
	}
	dec := func(c byte) bool { return c >= '0' && c <= '9' }
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'x', 'X':
			return digits(2, func(c byte) bool { return dec(c) || c|0x20 >= 'a' && c|0x20 <= 'f' })
		case 'b', 'B', 'o', 'O':
			return digits(2, dec)
		}
	}
	n := digits(0, dec)
	if n+1 < len(s) && s[n] == '.' && dec(s[n+1]) {
		n = digits(n+1, dec)
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		j := n + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if j < len(s) && dec(s[j]) {
			n = digits(j, dec)
		}
	}
	return n
}

// unescape reads the escapes of a Python string; one that Python does not know stays.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var sb strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			sb.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case '\n':
		case '\\', '\'', '"':
			sb.WriteByte(c)
		case 'n', 't', 'r', 'a', 'b', 'f', 'v':
			sb.WriteByte("\n\t\r\a\b\f\v"[strings.IndexByte("ntrabfv", c)])
		case 'x', 'u', 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+n >= len(s) {
				return "", fmt.Errorf("truncated \\%c escape", c)
			}
			v, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
			if err != nil {
				return "", fmt.Errorf("truncated \\%c escape", c)
			}
			sb.WriteRune(rune(v))
			i += n
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n, v := 0, rune(0)
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				v = v*8 + rune(s[i+n]-'0')
				n++
			}
			sb.WriteRune(v)
			i += n - 1
		default:
			sb.WriteByte('\\')
			sb.WriteByte(c)
		}
	}
	return sb.String(), nil
}
