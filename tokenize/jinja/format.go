package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

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
					return nil, &Error{Kind: "IndexError",
						Message: "Replacement index " + strconv.Itoa(n) + " out of range for positional args tuple"}
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
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			sb.WriteString(s)
			break
		}
		sb.WriteString(s[:i])
		f, err := r.field(s[i+1:], v)
		if err != nil {
			return nil, err
		}
		s = f.rest
		if f.kind == '%' {
			sb.WriteByte('%')
			continue
		}
		if !f.named {
			if next >= len(args) {
				return nil, errors.New("not enough arguments for format string")
			}
			f.arg = args[next]
			next++
		}
		t, err := r.conversion(f)
		if err != nil {
			return nil, err
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

// field is what follows a % of a format.
type field struct {
	flags string
	kind  byte
	named bool // by (name), whose value is arg
	arg   any
	rest  string // of the format
}

// field takes a field's name, of v, its flags and its conversion from the beginning of s.
func (r *run) field(s string, v any) (f field, err error) {
	if strings.HasPrefix(s, "(") {
		k := strings.IndexByte(s, ')')
		d, ok := v.(*Dict)
		if k < 0 || !ok {
			return f, errors.New("format requires a mapping")
		}
		x, ok, err := r.get(d, s[1:k])
		if err != nil {
			return f, err
		}
		if !ok {
			return f, &Error{Kind: "KeyError", Message: brief(s[1:k])}
		}
		f.arg, f.named = x, true
		s = s[k+1:]
	}
	n := 0
	for n < len(s) && strings.IndexByte("-+ #0123456789.", s[n]) >= 0 {
		n++
	}
	if n == len(s) {
		return f, &Error{Kind: "ValueError", Message: "incomplete format"}
	}
	f.flags, f.kind, f.rest = s[:n], s[n], s[n+1:]
	return f, nil
}

// conversion is a field's value as text.
func (r *run) conversion(f field) (string, error) {
	if len(f.flags) > 20 {
		return "", limit("a field has the flags %s", brief(f.flags))
	}
	for _, n := range strings.FieldsFunc(f.flags, func(r rune) bool { return r < '0' || r > '9' }) {
		if len(n) > 4 {
			return "", limit("a field is %s wide", n)
		}
	}
	i, x, whole, ok := number(f.arg)
	switch c := f.kind; c {
	case 's', 'r':
		text := r.str
		if c == 'r' {
			text = r.repr
		}
		t, err := text(f.arg)
		if err != nil || f.flags == "" {
			return t, err
		}
		if err := r.touch(len(t) / 4); err != nil {
			return "", err
		}
		return fmt.Sprintf("%"+f.flags+"s", t), nil
	case 'd', 'i', 'u', 'x', 'X', 'o':
		if !ok {
			return "", fmt.Errorf("%%%c format: a real number is required, not %s", c, typeName(f.arg))
		}
		if !whole {
			i = int64(x)
		}
		if c == 'i' || c == 'u' {
			c = 'd'
		}
		return fmt.Sprintf("%"+f.flags+string(c), i), nil
	case 'f', 'F', 'e', 'E', 'g', 'G':
		if !ok {
			return "", fmt.Errorf("must be real number, not %s", typeName(f.arg))
		}
		if (c == 'g' || c == 'G') && !strings.Contains(f.flags, ".") {
			f.flags += ".6"
		}
		return fmt.Sprintf("%"+f.flags+string(c), x), nil
	}
	return "", &Error{Kind: "ValueError", Message: fmt.Sprintf("unsupported format character '%c'", f.kind)}
}
