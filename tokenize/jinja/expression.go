package jinja

import (
	"fmt"
)

type constant struct{ v any }

func (e *constant) eval(*run, *scope) (any, error) { return e.v, nil }

type nameExpr struct{ name string }

func (e *nameExpr) eval(r *run, sc *scope) (any, error) {
	v, depth, ok := sc.get(e.name)
	if err := r.touch(depth / 4); err != nil || ok {
		return v, err
	}
	return r.missing("'%s' is undefined", e.name)
}

type listExpr struct {
	list  []expr
	tuple bool
}

func (e *listExpr) eval(r *run, sc *scope) (any, error) {
	if err := r.room(len(e.list)); err != nil {
		return nil, err
	}
	l := make([]any, len(e.list))
	for i, x := range e.list {
		v, err := r.eval(x, sc)
		if err != nil {
			return nil, err
		}
		l[i] = v
	}
	return &List{l, e.tuple}, nil
}

type dictExpr struct{ keys, values []expr }

func (e *dictExpr) eval(r *run, sc *scope) (any, error) {
	d := NewDict()
	for i := range e.keys {
		k, err := r.eval(e.keys[i], sc)
		if err != nil {
			return nil, err
		}
		v, err := r.eval(e.values[i], sc)
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case *List, *Dict:
			return nil, fmt.Errorf("unhashable type: '%s'", typeName(k))
		}
		if err := r.set(d, k, v); err != nil {
			return nil, err
		}
	}
	return d, r.charge(listSize)
}

type condExpr struct{ c, a, b expr }

func (e *condExpr) eval(r *run, sc *scope) (any, error) {
	c, err := r.eval(e.c, sc)
	if err != nil {
		return nil, err
	}
	if truth(c) {
		return r.eval(e.a, sc)
	}
	if e.b == nil {
		return undefined{"the inline if-expression evaluated to false and no else section was defined."}, nil
	}
	return r.eval(e.b, sc)
}

type logic struct {
	a, b expr
	or   bool
}

func (e *logic) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.a, sc)
	if err != nil || truth(v) == e.or {
		return v, err
	}
	return r.eval(e.b, sc)
}

type notExpr struct{ e expr }

func (e *notExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	return !truth(v), err
}

type compareExpr struct {
	first expr
	ops   []string
	rest  []expr
	line  int
}

func (e *compareExpr) eval(r *run, sc *scope) (any, error) {
	a, err := r.eval(e.first, sc)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		b, err := r.eval(e.rest[i], sc)
		if err != nil {
			return nil, err
		}
		ok, err := r.relate(op, a, b)
		if err != nil {
			return nil, at(e.line, err)
		}
		if !ok {
			return false, nil
		}
		a = b
	}
	return true, nil
}

func (r *run) relate(op string, a, b any) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(a, b)
		return same == (op == "=="), err
	case "in", "not in":
		has, err := r.contains(b, a)
		return has == (op == "in"), err
	}
	c, err := r.compare(a, b)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}
