package datasets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Where is a condition on the fields of a row as the file has them, which is tested while rows are read: later the fields that are not used
// are gone. A row that does not meet it is a rejection by a rule, no bad record.
type Where struct {
	Rule    string   // by which the row is rejected
	Reason  string   // of the rejection
	Tests   []string // all of which must hold: see [ParseFieldTest]
	Missing bool     // whether a row without the field meets its test
}

// FieldTest is a comparison of a field with a value, or with several.
type FieldTest struct {
	text   string
	path   []string // the names of objects inside one another
	op     string
	values []any // as encoding/json reads them
}

// fieldTest takes a test apart. Operators of two characters stand before their first one.
var fieldTest = regexp.MustCompile(`^\s*("(?:[^"\\]|\\.)*"|[^\s=!<>"]+)\s*(==|!=|<=|>=|<|>|\bnot\s+in\b|\bin\b)\s*(\S.*?)\s*$`)

// ParseFieldTest reads a comparison: FIELD OPERATOR VALUE, as "score >= 0.5", "lang in [en, de]" or "meta.stars > 10". A dot leads into an
// object; a name with a dot or a space stands in quotation marks. The operators are == != < <= > >= in and not in; a value is JSON, and
// anything else is a text as it stands. < and its like compare numbers, also of fields that are texts of a number, as CSV's are.
func ParseFieldTest(text string) (*FieldTest, error) {
	m := fieldTest.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("test %q is not FIELD OPERATOR VALUE, as in score >= 0.5 or lang in [en, de]; the operators are ==, !=, "+
			"<, <=, >, >=, in, not in", text)
	}
	t := &FieldTest{text: strings.TrimSpace(text), op: strings.Join(strings.Fields(m[2]), " "), path: strings.Split(m[1], ".")}
	if m[1][0] == '"' {
		name, err := strconv.Unquote(m[1])
		if err != nil {
			return nil, fmt.Errorf("test %q: the name %s: %w", text, m[1], err)
		}
		t.path = []string{name}
	}
	if slices.Contains(t.path, "") {
		return nil, fmt.Errorf("test %q: the field %s has an empty name", text, m[1])
	}
	value := m[3]
	if t.op == "in" || t.op == "not in" {
		inner, ok := strings.CutPrefix(value, "[")
		inner, end := strings.CutSuffix(inner, "]")
		if !ok || !end {
			return nil, fmt.Errorf("test %q: %s wants a list, as [en, de]", text, t.op)
		}
		if json.Unmarshal([]byte(value), &t.values) != nil {
			for _, v := range strings.Split(inner, ",") {
				t.values = append(t.values, scalar(strings.TrimSpace(v)))
			}
		}
		return t, nil
	}
	t.values = []any{scalar(value)}
	if _, number := t.values[0].(float64); !number && strings.ContainsAny(t.op, "<>") {
		return nil, fmt.Errorf("test %q: %s compares numbers, and %s is none", text, t.op, value)
	}
	return t, nil
}

// scalar is a value of JSON, or the text as it stands.
func scalar(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	switch v.(type) {
	case []any, map[string]any:
		return text
	}
	return v
}

// holds tests the field of a row; found says whether the row has it, and got what it holds.
func (t *FieldTest) holds(obj map[string]json.RawMessage) (ok, found bool, got string) {
	raw := obj[t.path[0]]
	for _, name := range t.path[1:] {
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) != nil {
			return false, false, ""
		}
		raw = inner[name]
	}
	if raw = bytes.TrimSpace(raw); absent(raw) {
		return false, false, string(raw)
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return false, false, ""
	}
	got = string(raw[:min(len(raw), 80)])
	switch t.op {
	case "==", "in":
		return slices.ContainsFunc(t.values, func(w any) bool { return same(v, w) }), true, got
	case "!=", "not in":
		return !slices.ContainsFunc(t.values, func(w any) bool { return same(v, w) }), true, got
	}
	x, isNumber := number(v)
	y := t.values[0].(float64)
	switch t.op {
	case "<":
		ok = x < y
	case "<=":
		ok = x <= y
	case ">":
		ok = x > y
	case ">=":
		ok = x >= y
	}
	return ok && isNumber, true, got
}

// number is a number, or a text of one.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return x, err == nil
	}
	return 0, false
}

// same compares a field with a value: numbers as numbers, also those of CSV, anything else by its text.
func same(v, w any) bool {
	if y, ok := w.(float64); ok {
		x, isNumber := number(v)
		return isNumber && x == y
	}
	return fmt.Sprint(v) == fmt.Sprint(w)
}

// conditions are the tests of the options, which were checked.
type conditions struct {
	where []Where
	tests [][]*FieldTest
}

func (o *Options) conditions() (*conditions, error) {
	if len(o.Where) == 0 {
		return nil, nil
	}
	c := &conditions{where: o.Where}
	for _, w := range o.Where {
		var tests []*FieldTest
		for _, text := range w.Tests {
			t, err := ParseFieldTest(text)
			if err != nil {
				return nil, err
			}
			tests = append(tests, t)
		}
		c.tests = append(c.tests, tests)
	}
	return c, nil
}

// unmet is the rejection of a row that does not meet the conditions, nil of one that does. The fields that are tested are used.
func (c *conditions) unmet(r *fileReader, obj map[string]json.RawMessage, line []byte) *Reject {
	if c == nil {
		return nil
	}
	for i, w := range c.where {
		for _, t := range c.tests[i] {
			ok, found, got := t.holds(obj)
			if ok || !found && w.Missing {
				continue
			}
			if !found {
				got = "the row does not have the field"
			}
			rej := r.reject(w.Reason, got, t.text, line)
			rej.Rule = w.Rule
			return rej
		}
	}
	return nil
}
