// Package jinja renders chat templates: the part of Jinja that transformers gives them, with its options (trim_blocks, lstrip_blocks, loop controls, an immutable
// sandbox) and Python's rules for values, so that the text, and the errors, are the same.
//
// It is an interpreter of its own and not gonja, which was tried first: gonja's evaluator cannot be bounded from outside (a text repeated 10⁹ times and a macro that
// calls itself end the process), does not tell a missing value from none, adds a text and none where Python refuses, loses the order of keys, and knows
// `a if b else c` in {{ }} and set only, not inside brackets, calls or tests, where published templates have it.
//
// A template reaches nothing but the values it is given: there are no files, no includes, no attributes of Go values, and nothing that it can change. Rendering is
// bounded by [Limits].
package jinja

import (
	"fmt"
	"strings"
	"time"
)

// Error is what a template, or the sandbox, complains about. Kind is Jinja's or Python's name of it: TemplateError (raise_exception), TemplateSyntaxError,
// UndefinedError, TypeError, ValueError, ZeroDivisionError, SecurityError, or LimitError.
type Error struct {
	Kind    string
	Message string
	Line    int // in the template; 0 unknown
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s at line %d of the template: %s", e.Kind, e.Line, e.Message)
	}
	return e.Kind + ": " + e.Message
}

// Limits bound one rendering; a zero field has its default.
type Limits struct {
	Steps  int           // statements and operations; 5 million
	Output int           // bytes written; 16 MiB
	Memory int           // bytes of texts and lists made, the forgotten ones too; 256 MiB
	Time   time.Duration // 10 s
}

func (l Limits) orDefaults() Limits {
	if l.Steps == 0 {
		l.Steps = 5_000_000
	}
	if l.Output == 0 {
		l.Output = 16 << 20
	}
	if l.Memory == 0 {
		l.Memory = 256 << 20
	}
	if l.Time == 0 {
		l.Time = 10 * time.Second
	}
	return l
}

// maxSource bounds the length of a template.
const maxSource = 4 << 20

// Template is a parsed template. It may be used from several goroutines at once.
type Template struct{ body []stmt }

// Parse reads a template.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, limit("the template is longer than %d bytes", maxSource)
	}
	if !strings.Contains(source, "{") {
		source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
		return &Template{[]stmt{&output{text: strings.TrimSuffix(source, "\n")}}}, nil
	}
	t, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{t: t}
	body, _, err := p.body()
	if err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

// Span is a part of a text in Unicode code points, end exclusive.
type Span struct{ Start, End int }

// Render renders the template with the variables vars, which it does not change; now is what strftime_now tells (nil: the clock). The spans are those of
// {% generation %}. Values are those that [FromJSON] makes.
func (t *Template) Render(vars *Dict, limits Limits, now func() time.Time) (text string, spans []Span, err error) {
	if now == nil {
		now = time.Now
	}
	r := &run{limits: limits.orDefaults(), now: now, started: time.Now()}
	r.out = &r.top
	sc := &scope{vars: map[string]any{}, parent: &scope{vars: globals}}
	for _, k := range vars.Keys() {
		if n, ok := k.(string); ok {
			v, _ := vars.Get(k)
			sc.vars[n] = v
		}
	}
	if err := r.all(t.body, sc); err != nil {
		return "", nil, at(0, err)
	}
	return r.top.String(), r.spans, nil
}
