// Package jinja renders chat templates: the part of Jinja that transformers gives them, with its options (trim_blocks, lstrip_blocks, loop
// controls, an immutable sandbox) and Python's rules for values, so that the text, and the errors, are the same.
//
// It is an interpreter of its own and not gonja, which was tried first: gonja's evaluator cannot be bounded from outside (a text repeated
// 10⁹ times and a macro that calls itself end the process), does not tell a missing value from none, adds a text and none where Python
// refuses, loses the order of keys, and knows `a if b else c` in {{ }} and set only, not inside brackets, calls or tests, where published
// templates have it.
//
// A template reaches nothing but the values it is given: there are no files, no includes, no attributes of Go values, and nothing that it
// can change. Rendering is bounded by [Limits].
package jinja

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is what a template, or the sandbox, complains about. Kind is Jinja's or Python's name of it: TemplateError (raise_exception),
// TemplateSyntaxError, UndefinedError, TypeError, ValueError, ZeroDivisionError, SecurityError, or LimitError.
type Error struct {
	Kind     string
	Message  string
	Line     int    // in the template; 0 unknown
	Template string // its name; "" unknown
	// Run: not this rendering alone is at fault, and the next ones would be no better.
	Run bool
}

// Error implements error.
func (e *Error) Error() string {
	name, message := e.Template, e.Message
	if name == "" {
		name = "the template"
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	if e.Line > 0 {
		return fmt.Sprintf("%s at line %d of %s: %s", e.Kind, e.Line, name, message)
	}
	if e.Template != "" {
		return fmt.Sprintf("%s in %s: %s", e.Kind, name, message)
	}
	return e.Kind + ": " + message
}

// maxMessage bounds what an error shows of a template's own words.
const maxMessage = 2000

// named gives an error the name of its template.
func named(err error, name string) error {
	var e *Error
	if name == "" || !errors.As(err, &e) || e.Template != "" {
		return err
	}
	c := *e
	c.Template = name
	return &c
}

// MaxSource bounds the length of a template; published ones take up to 30 KB.
const MaxSource = 256 << 10

// Template is a parsed template. It may be used from several goroutines at once.
type Template struct {
	name string
	body []stmt
}

// Parse reads a template.
func Parse(source string) (*Template, error) { return ParseNamed("", source) }

// ParseNamed is Parse of a template that errors call by a name: of its file.
func ParseNamed(name, source string) (*Template, error) {
	body, err := parse(source)
	if err != nil {
		return nil, named(err, name)
	}
	return &Template{name, body}, nil
}

func parse(source string) ([]stmt, error) {
	if len(source) > MaxSource {
		return nil, limit("the template is longer than %d bytes", MaxSource)
	}
	if !strings.Contains(source, "{") {
		source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
		return []stmt{&output{text: strings.TrimSuffix(source, "\n")}}, nil
	}
	t, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{t: t}
	body, _, err := p.body()
	return body, err
}

// Span is a part of a text in Unicode code points, end exclusive.
type Span struct{ Start, End int }

// Options are how a template is rendered.
type Options struct {
	Limits Limits
	Now    func() time.Time // what strftime_now tells; nil: the clock
	Budget *Budget          // what all renderings take together; nil: any
	Input  int              // bytes that the variables were made of, for Budget
}

// Result is what a rendering gave.
type Result struct {
	Text  string
	Spans []Span // of {% generation %}
	Steps int    // what it took
}

// Render renders the template with the variables vars, which it does not change; now is what strftime_now tells (nil: the clock). The spans
// are those of {% generation %}. Values are those that [FromJSON] makes.
func (t *Template) Render(vars *Dict, limits Limits, now func() time.Time) (text string, spans []Span, err error) {
	out, err := t.Run(vars, Options{Limits: limits, Now: now})
	if err != nil {
		return "", nil, err
	}
	return out.Text, out.Spans, nil
}

// Run is Render within a budget. Its result tells what the rendering took also where it failed.
func (t *Template) Run(vars *Dict, o Options) (*Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &run{limits: o.Limits.orDefaults(), now: o.Now, started: time.Now(), filters: filterTable, tests: testTable}
	if o.Budget != nil {
		if err := o.Budget.open(r.limits.Steps); err != nil {
			return &Result{}, named(err, t.name)
		}
	}
	r.out = &r.top
	sc := &scope{vars: map[string]any{}, parent: &scope{vars: globals}}
	for _, k := range vars.Keys() {
		if n, ok := k.(string); ok {
			v, _ := vars.Get(k)
			sc.vars[n] = v
		}
	}
	err := r.all(t.body, sc)
	if o.Budget != nil {
		o.Budget.close(r.steps, o.Input)
	}
	if err != nil {
		return &Result{Steps: r.steps}, named(at(0, err), t.name)
	}
	return &Result{r.top.String(), r.spans, r.steps}, nil
}
