package jinja

import (
	"fmt"
)

type scope struct {
	vars   map[string]any
	parent *scope
}

// get looks for a name; depth is how many scopes were looked into.
func (s *scope) get(name string) (v any, depth int, ok bool) {
	for ; s != nil; s = s.parent {
		depth++
		if v, ok := s.vars[name]; ok {
			return v, depth, true
		}
	}
	return nil, depth, false
}

func (s *scope) set(name string, v any) {
	if s.vars == nil {
		s.vars = map[string]any{}
	}
	s.vars[name] = v
}

type target struct {
	name, attr string
	list       []*target
}

func (t *target) assign(r *run, sc *scope, v any) error {
	switch {
	case t.list != nil:
		if !iterable(v) {
			return fmt.Errorf("cannot unpack non-iterable %s object", typeName(v))
		}
		l, err := r.items(v)
		if err != nil {
			return err
		}
		if len(l) != len(t.list) {
			if len(l) > len(t.list) {
				return fmt.Errorf("too many values to unpack (expected %d)", len(t.list))
			}
			return fmt.Errorf("not enough values to unpack (expected %d, got %d)", len(t.list), len(l))
		}
		for i := range l {
			if err := t.list[i].assign(r, sc, l[i]); err != nil {
				return err
			}
		}
		return nil
	case t.attr != "":
		o, depth, _ := sc.get(t.name)
		if err := r.touch(depth / 4); err != nil {
			return err
		}
		n, ok := o.(*namespace)
		if !ok {
			return &Error{Kind: "TemplateRuntimeError", Message: "cannot assign attribute on non-namespace object"}
		}
		return r.set(n.d, t.attr, v)
	}
	sc.set(t.name, v)
	return nil
}
