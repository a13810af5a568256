package jinja

import (
	"errors"
	"unicode/utf8"
)

type expr interface {
	eval(r *run, sc *scope) (any, error)
}

type stmt interface {
	exec(r *run, sc *scope) error
	where() int // line
}

// line is where a statement or an expression stands in the template.
type line int

func (l line) where() int { return int(l) }

func at(line int, err error) error {
	var e *Error
	if errors.As(err, &e) {
		if e.Line == 0 && line > 0 {
			c := *e
			c.Line = line
			return &c
		}
		return err
	}
	if errors.Is(err, errBreak) || errors.Is(err, errContinue) || err == nil {
		return err
	}
	return &Error{Kind: "TypeError", Message: err.Error(), Line: line}
}

type output struct {
	text string
	e    expr
	line
}

func (o *output) exec(r *run, sc *scope) error {
	if o.e == nil {
		return r.write(o.text)
	}
	return r.print(o.e, sc)
}

// print writes a value.
func (r *run) print(e expr, sc *scope) error {
	v, err := r.eval(e, sc)
	if err != nil {
		return err
	}
	return r.show(v)
}

// show writes a value as text.
func (r *run) show(v any) error {
	text, err := r.str(v)
	if err != nil {
		return err
	}
	return r.write(text)
}

type setStmt struct {
	target *target
	value  expr
	filter expr
	body   []stmt
	line
}

func (s *setStmt) exec(r *run, sc *scope) error {
	var v any
	var err error
	if s.value != nil {
		v, err = r.eval(s.value, sc)
	} else {
		inner := &scope{parent: sc}
		v, err = r.captured(s.body, inner, s.filter)
	}
	if err != nil {
		return err
	}
	return s.target.assign(r, sc, v)
}

func (r *run) captured(body []stmt, sc *scope, filter expr) (any, error) {
	text, err := r.capture(body, sc)
	if err != nil || filter == nil {
		return text, err
	}
	return r.eval(filter, &scope{vars: map[string]any{"\x00input": text}, parent: sc})
}

// input is what a filter block filters.
type input struct{}

func (*input) eval(r *run, sc *scope) (any, error) {
	v, depth, _ := sc.get("\x00input")
	return v, r.touch(depth / 4)
}

type filterStmt struct {
	e    expr
	body []stmt
	line
}

func (s *filterStmt) exec(r *run, sc *scope) error {
	v, err := r.captured(s.body, &scope{parent: sc}, s.e)
	if err != nil {
		return err
	}
	text, err := r.str(v)
	if err != nil {
		return err
	}
	return r.write(text)
}

type withStmt struct {
	targets []*target
	values  []expr
	body    []stmt
	line
}

func (s *withStmt) exec(r *run, sc *scope) error {
	in := &scope{parent: sc}
	for i, t := range s.targets {
		v, err := r.eval(s.values[i], sc)
		if err != nil {
			return err
		}
		if err := t.assign(r, in, v); err != nil {
			return err
		}
	}
	return r.all(s.body, in)
}

type ifStmt struct {
	conds  []expr
	bodies [][]stmt
	other  []stmt
	line
}

func (s *ifStmt) exec(r *run, sc *scope) error {
	for i, c := range s.conds {
		v, err := r.eval(c, sc)
		if err != nil {
			return err
		}
		if truth(v) {
			return r.all(s.bodies[i], sc)
		}
	}
	return r.all(s.other, sc)
}

// generation marks what the assistant says. As in transformers, the span begins where the text written so far ends, and the first one is
// lost when nothing was written before it.
type generation struct {
	body []stmt
	line
}

func (s *generation) exec(r *run, sc *scope) error {
	text, err := r.capture(s.body, &scope{parent: sc})
	if err != nil {
		return err
	}
	if err := r.charge(itemSize); err != nil {
		return err
	}
	if r.wrote || len(r.spans) > 0 {
		r.spans = append(r.spans, Span{r.chars, r.chars + utf8.RuneCountInString(text)})
	}
	return r.write(text)
}
