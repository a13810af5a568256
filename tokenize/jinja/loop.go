package jinja

import (
	"errors"
	"strings"
)

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

type loopControl struct {
	isBreak bool
	line
}

func (s *loopControl) exec(*run, *scope) error {
	if s.isBreak {
		return errBreak
	}
	return errContinue
}

// loop is the `loop` variable.
type loop struct {
	items   []any
	i       int
	depth   int
	changed []any
	again   func(v any) (any, error) // of a recursive loop
}

type forStmt struct {
	target      *target
	iter, cond  expr
	recursive   bool
	body, empty []stmt
	line
}

func (s *forStmt) exec(r *run, sc *scope) error {
	v, err := r.eval(s.iter, sc)
	if err != nil {
		return err
	}
	return s.over(r, sc, v, 0)
}

func (s *forStmt) over(r *run, sc *scope, v any, depth int) error {
	if depth > maxDepth {
		return limit("loops recurse deeper than %d", maxDepth)
	}
	list, err := r.items(v)
	if err != nil {
		return err
	}
	if s.cond != nil {
		if err := r.room(len(list)); err != nil {
			return err
		}
		var kept []any
		for _, x := range list {
			if err := r.touch(scopeSteps); err != nil {
				return err
			}
			in := &scope{parent: sc}
			if err := s.target.assign(r, in, x); err != nil {
				return err
			}
			c, err := r.eval(s.cond, in)
			if err != nil {
				return err
			}
			if truth(c) {
				kept = append(kept, x)
			}
		}
		list = kept
	}
	l := &loop{items: list, depth: depth}
	if s.recursive {
		l.again = func(v any) (any, error) {
			old := r.out
			var sb strings.Builder
			r.out = &sb
			err := s.over(r, sc, v, depth+1)
			r.out = old
			return sb.String(), err
		}
	}
	for i, x := range list {
		if err := r.touch(scopeSteps); err != nil {
			return err
		}
		l.i = i
		in := &scope{parent: sc, vars: map[string]any{"loop": l}}
		if err := s.target.assign(r, in, x); err != nil {
			return err
		}
		if err := r.all(s.body, in); errors.Is(err, errBreak) {
			break
		} else if err != nil && !errors.Is(err, errContinue) {
			return err
		}
	}
	if len(list) == 0 {
		return r.all(s.empty, &scope{parent: sc})
	}
	return nil
}

func (l *loop) attribute(name string) (any, bool) {
	n := len(l.items)
	missing := undefined{"there is no " + name}
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(n - l.i), true
	case "revindex0":
		return int64(n - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		if l.i == 0 {
			return missing, true
		}
		return l.items[l.i-1], true
	case "nextitem":
		if l.i == n-1 {
			return missing, true
		}
		return l.items[l.i+1], true
	case "cycle":
		return &function{name, func(_ *run, args []any, _ *Dict) (any, error) {
			if len(args) == 0 {
				return nil, errors.New("no items for cycling given")
			}
			return args[l.i%len(args)], nil
		}}, true
	case "changed":
		return &function{name, func(r *run, args []any, _ *Dict) (any, error) {
			same, err := l.changed != nil, error(nil)
			if same {
				same, err = r.equal(&List{Items: l.changed}, &List{Items: args})
			}
			l.changed = append([]any{}, args...)
			return !same, err
		}}, true
	}
	return nil, false
}
