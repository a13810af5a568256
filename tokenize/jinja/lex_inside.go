package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

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
