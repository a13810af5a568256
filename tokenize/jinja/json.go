package jinja

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FromJSON reads a JSON value with the order of its keys; numbers without a point or exponent are whole.
func FromJSON(data []byte) (any, error) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	v, err := readJSON(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return v, nil
}

// maxDepth bounds how deep values, expressions and statements nest.
const maxDepth = 200

func readJSON(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON nests deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch x := t.(type) {
	case json.Delim:
		if x == '[' {
			l := &List{Items: []any{}}
			for d.More() {
				v, err := readJSON(d, depth+1)
				if err != nil {
					return nil, err
				}
				l.Items = append(l.Items, v)
			}
			_, err := d.Token()
			return l, err
		}
		m := NewDict()
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := readJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			m.Set(k.(string), v)
		}
		_, err := d.Token()
		return m, err
	case json.Number:
		if s := x.String(); !strings.ContainsAny(s, ".eE") {
			i, err := strconv.ParseInt(s, 10, 64)
			return i, err
		}
		return x.Float64()
	}
	return t, nil
}

type jsonStyle struct {
	ascii, sort bool
	indent      string
	pretty      bool
	item, key   string // separators
}

// dumps is Python's json.dumps.
func (s jsonStyle) dumps(sb *strings.Builder, v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("the value nests deeper than %d", maxDepth)
	}
	line := func(d int) {
		if s.pretty {
			sb.WriteByte('\n')
			for range d {
				sb.WriteString(s.indent)
			}
		}
	}
	switch x := v.(type) {
	case nil:
		sb.WriteString("null")
	case bool:
		sb.WriteString(strconv.FormatBool(x))
	case int64:
		sb.WriteString(strconv.FormatInt(x, 10))
	case float64:
		switch {
		case math.IsNaN(x):
			sb.WriteString("NaN")
		case math.IsInf(x, 1):
			sb.WriteString("Infinity")
		case math.IsInf(x, -1):
			sb.WriteString("-Infinity")
		default:
			sb.WriteString(floatRepr(x))
		}
	case string:
		s.quote(sb, x)
	case *List:
		if len(x.Items) == 0 {
			sb.WriteString("[]")
			return nil
		}
		sb.WriteByte('[')
		for i, e := range x.Items {
			if i > 0 {
				sb.WriteString(s.item)
			}
			line(depth + 1)
			if err := s.dumps(sb, e, depth+1); err != nil {
				return err
			}
		}
		line(depth)
		sb.WriteByte(']')
	case *Dict:
		if x.Len() == 0 {
			sb.WriteString("{}")
			return nil
		}
		keys := x.keys
		if s.sort {
			var err error
			if keys, err = sorted(keys, func(v any) (any, error) { return v, nil }, false); err != nil {
				return err
			}
		}
		sb.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				sb.WriteString(s.item)
			}
			line(depth + 1)
			switch k := k.(type) {
			case string:
				s.quote(sb, k)
			case nil, bool, int64, float64:
				sb.WriteByte('"')
				if err := s.dumps(sb, k, depth); err != nil {
					return err
				}
				sb.WriteByte('"')
			default:
				return fmt.Errorf("keys must be str, int, float, bool or None, not %s", typeName(k))
			}
			sb.WriteString(s.key)
			if err := s.dumps(sb, x.m[k], depth+1); err != nil {
				return err
			}
		}
		line(depth)
		sb.WriteByte('}')
	case undefined:
		//lint:ignore ST1005 Jinja's own words, which templates' users know
		return fmt.Errorf("Object of type Undefined is not JSON serializable (%s)", x.why)
	default:
		//lint:ignore ST1005 Jinja's own words, which templates' users know
		return fmt.Errorf("Object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func (s jsonStyle) quote(sb *strings.Builder, x string) {
	sb.WriteByte('"')
	for _, r := range x {
		switch {
		case r == '"' || r == '\\':
			sb.WriteByte('\\')
			sb.WriteRune(r)
		case r == '\n':
			sb.WriteString(`\n`)
		case r == '\r':
			sb.WriteString(`\r`)
		case r == '\t':
			sb.WriteString(`\t`)
		case r == '\b':
			sb.WriteString(`\b`)
		case r == '\f':
			sb.WriteString(`\f`)
		case r < 0x20 || s.ascii && r >= 0x7F && r < 0x10000:
			if r == 0x7F {
				sb.WriteRune(r)
				continue
			}
			fmt.Fprintf(sb, `\u%04x`, r)
		case s.ascii && r >= utf8.RuneSelf:
			r -= 0x10000
			fmt.Fprintf(sb, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			sb.WriteRune(r)
		}
	}
	sb.WriteByte('"')
}

// ToJSON writes a value as Python's json.dumps does with ensure_ascii off and that indent.
func ToJSON(v any, indent int) ([]byte, error) {
	var sb strings.Builder
	s := jsonStyle{item: ",", key: ": ", pretty: true, indent: strings.Repeat(" ", indent)}
	if err := s.dumps(&sb, v, 0); err != nil {
		return nil, err
	}
	return []byte(sb.String() + "\n"), nil
}
