package jinja

import (
	"errors"
	"fmt"
)

type arguments struct {
	pos          []expr
	names        []string
	named        []expr
	star, kwargs expr
}

func (a *arguments) eval(r *run, sc *scope) ([]any, *Dict, error) {
	pos := make([]any, 0, len(a.pos))
	for _, e := range a.pos {
		v, err := r.eval(e, sc)
		if err != nil {
			return nil, nil, err
		}
		pos = append(pos, v)
	}
	if a.star != nil {
		v, err := r.eval(a.star, sc)
		if err != nil {
			return nil, nil, err
		}
		l, err := r.items(v)
		if err != nil {
			return nil, nil, err
		}
		if err := r.room(len(l)); err != nil {
			return nil, nil, err
		}
		pos = append(pos, l...)
	}
	kw := NewDict()
	for i, n := range a.names {
		v, err := r.eval(a.named[i], sc)
		if err != nil {
			return nil, nil, err
		}
		kw.Set(n, v)
	}
	if a.kwargs != nil {
		v, err := r.eval(a.kwargs, sc)
		if err != nil {
			return nil, nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, nil, fmt.Errorf("argument after ** must be a mapping, not %s", typeName(v))
		}
		if err := r.times(d.Len(), pairSize); err != nil {
			return nil, nil, err
		}
		for _, k := range d.keys {
			if _, ok := k.(string); !ok {
				return nil, nil, errors.New("keywords must be strings")
			}
			kw.Set(k, d.m[k])
		}
	}
	return pos, kw, nil
}

type call struct {
	f    expr
	args arguments
	line int
}

func (e *call) eval(r *run, sc *scope) (any, error) { return e.with(r, sc, nil) }

func (e *call) with(r *run, sc *scope, caller *function) (any, error) {
	f, err := r.eval(e.f, sc)
	if err != nil {
		return nil, err
	}
	args, kw, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		kw.Set("caller", caller)
	}
	switch x := f.(type) {
	case *function:
		v, err := x.call(r, args, kw)
		return v, at(e.line, err)
	case *loop:
		if x.again == nil {
			//lint:ignore ST1005 Jinja's own words, which templates' users know
			return nil, at(e.line, errors.New("The loop must have the 'recursive' marker to be called recursively."))
		}
		if len(args) != 1 {
			return nil, at(e.line, errors.New("loop() takes one iterable"))
		}
		v, err := x.again(args[0])
		return v, at(e.line, err)
	case undefined:
		return nil, at(e.line, x.err())
	}
	return nil, at(e.line, fmt.Errorf("'%s' object is not callable", typeName(f)))
}

type filterExpr struct {
	e    expr
	name string
	fn   builtin
	args arguments
	line int
}

func (e *filterExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	args, kw, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	x, err := e.fn(r, v, &params{name: e.name, pos: args, kw: kw})
	return x, at(e.line, err)
}

type testExpr struct {
	e      expr
	fn     testFunc
	args   arguments
	negate bool
	line   int
}

func (e *testExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	args, _, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	ok, err := e.fn(r, v, args)
	return ok != e.negate, at(e.line, err)
}
