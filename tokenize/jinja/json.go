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
func (s jsonStyle) dumps(w *writer, v any, depth int) {
	if depth > maxDepth && w.err == nil {
		w.err = limit("the value nests deeper than %d", maxDepth)
	}
	if w.err == nil {
		w.err = w.r.step()
	}
	if w.err != nil {
		return
	}
	line := func(d int) {
		if s.pretty {
			w.add("\n")
			for range d {
				w.add(s.indent)
			}
		}
	}
	switch x := v.(type) {
	case nil:
		w.add("null")
	case bool:
		w.add(strconv.FormatBool(x))
	case int64:
		w.add(strconv.FormatInt(x, 10))
	case float64:
		switch {
		case math.IsNaN(x):
			w.add("NaN")
		case math.IsInf(x, 1):
			w.add("Infinity")
		case math.IsInf(x, -1):
			w.add("-Infinity")
		default:
			w.add(floatRepr(x))
		}
	case string:
		s.quote(w, x)
	case *List:
		if len(x.Items) == 0 {
			w.add("[]")
			return
		}
		w.add("[")
		for i, e := range x.Items {
			if w.err != nil {
				return
			}
			if i > 0 {
				w.add(s.item)
			}
			line(depth + 1)
			s.dumps(w, e, depth+1)
		}
		line(depth)
		w.add("]")
	case *Dict:
		if x.Len() == 0 {
			w.add("{}")
			return
		}
		keys := x.keys
		if s.sort {
			if keys, w.err = w.r.sorted(keys, func(v any) (any, error) { return v, nil }, false); w.err != nil {
				return
			}
		}
		w.add("{")
		for i, k := range keys {
			if w.err != nil {
				return
			}
			if i > 0 {
				w.add(s.item)
			}
			line(depth + 1)
			switch k := k.(type) {
			case string:
				s.quote(w, k)
			case nil, bool, int64, float64:
				w.add(`"`)
				s.dumps(w, k, depth)
				w.add(`"`)
			default:
				w.err = fmt.Errorf("keys must be str, int, float, bool or None, not %s", typeName(k))
				return
			}
			w.add(s.key)
			s.dumps(w, x.m[k], depth+1)
		}
		line(depth)
		w.add("}")
	case undefined:
		//lint:ignore ST1005 Jinja's own words, which templates' users know
		w.err = fmt.Errorf("Object of type Undefined is not JSON serializable (%s)", x.why)
	default:
		//lint:ignore ST1005 Jinja's own words, which templates' users know
		w.err = fmt.Errorf("Object of type %s is not JSON serializable", typeName(v))
	}
}

func (s jsonStyle) quote(w *writer, x string) {
	if w.err == nil {
		w.err = w.r.read(len(x))
	}
	w.add(`"`)
	w.escaped(x, func(r rune) string {
		switch {
		case r == '"' || r == '\\':
			return `\` + string(r)
		case r == '\n':
			return `\n`
		case r == '\r':
			return `\r`
		case r == '\t':
			return `\t`
		case r == '\b':
			return `\b`
		case r == '\f':
			return `\f`
		case r == 0x7F:
			return ""
		case r < 0x20 || s.ascii && r > 0x7F && r < 0x10000:
			return fmt.Sprintf(`\u%04x`, r)
		case s.ascii && r >= utf8.RuneSelf:
			r -= 0x10000
			return fmt.Sprintf(`\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		}
		return ""
	})
	w.add(`"`)
}

// ToJSON writes a value as Python's json.dumps does with ensure_ascii off and that indent.
func ToJSON(v any, indent int) ([]byte, error) {
	w := &writer{r: unlimited()}
	jsonStyle{item: ",", key: ": ", pretty: true, indent: strings.Repeat(" ", indent)}.dumps(w, v, 0)
	text, err := w.text()
	return []byte(text + "\n"), err
}
