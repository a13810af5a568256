package jinja

import (
	"fmt"
)

type macro struct {
	name     string
	args     []string
	defaults []expr
	body     []stmt

	varargs, kwargs bool // the body uses them
}

type macroStmt struct {
	m *macro
	line
}

func (s *macroStmt) exec(r *run, sc *scope) error {
	sc.set(s.m.name, s.m.bind(sc))
	return r.charge(callSize)
}

// scopeSteps is what a scope with its names takes.
const scopeSteps = 4

// maxCalls bounds how deep macros call each other.
const maxCalls = 200

func (m *macro) bind(sc *scope) *function {
	return &function{m.name, func(r *run, args []any, kw *Dict) (any, error) {
		if r.calls++; r.calls > maxCalls {
			return nil, limit("macros call each other deeper than %d", maxCalls)
		}
		defer func() { r.calls-- }()
		if err := r.touch(2*scopeSteps + len(args) + len(m.args) + kw.Len()*(1+len(m.args))); err != nil {
			return nil, err
		}
		in := &scope{parent: sc, vars: map[string]any{}}
		rest := NewDict()
		for _, k := range kw.Keys() {
			if v, _ := kw.Get(k); k == "caller" || inList(m.args, k.(string)) {
				in.set(k.(string), v)
			} else {
				rest.Set(k, v)
			}
		}
		for i, n := range m.args {
			if i < len(args) {
				if _, twice := in.vars[n]; twice {
					return nil, fmt.Errorf("macro '%s' got multiple values for argument '%s'", m.name, n)
				}
				in.set(n, args[i])
			}
		}
		for i, n := range m.args {
			if _, ok := in.vars[n]; ok {
				continue
			}
			if m.defaults[i] == nil {
				in.set(n, undefined{fmt.Sprintf("parameter '%s' was not provided", n)})
				continue
			}
			v, err := r.eval(m.defaults[i], in)
			if err != nil {
				return nil, err
			}
			in.set(n, v)
		}
		extra := []any{}
		if len(args) > len(m.args) {
			extra = args[len(m.args):]
			if !m.varargs {
				return nil, fmt.Errorf("macro '%s' takes not more than %d argument(s)", m.name, len(m.args))
			}
		}
		if rest.Len() > 0 && !m.kwargs {
			return nil, fmt.Errorf("macro '%s' takes no keyword argument %s", m.name, brief(rest.keys[0]))
		}
		in.set("varargs", &List{extra, true})
		in.set("kwargs", rest)
		return r.capture(m.body, in)
	}}
}

type callStmt struct {
	c *call
	m *macro
	line
}

func (s *callStmt) exec(r *run, sc *scope) error {
	v, err := s.c.with(r, sc, s.m.bind(sc))
	if err != nil {
		return err
	}
	return r.show(v)
}
