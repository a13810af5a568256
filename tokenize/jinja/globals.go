package jinja

import (
	"errors"
	"fmt"
)

// params are the arguments of a filter or a function.
type params struct {
	name string
	pos  []any
	kw   *Dict
}

// get is the i-th argument, or the one of that name, or def.
func (p *params) get(i int, name string, def any) any {
	if i < len(p.pos) {
		return p.pos[i]
	}
	if v, ok := p.kw.Get(name); ok {
		return v
	}
	return def
}

func (p *params) text(r *run, i int, name, def string) (string, error) {
	return r.str(p.get(i, name, def))
}

func (p *params) whole(i int, name string, def int) (int, error) {
	v := p.get(i, name, int64(def))
	n, f, isInt, ok := number(v)
	if !ok {
		return 0, fmt.Errorf("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	if !isInt {
		n = int64(f)
	}
	return int(n), nil
}

// maxRange is the longest range of Jinja's sandbox.
const maxRange = 100000

var globals = map[string]any{
	"range": &function{"range", func(r *run, args []any, _ *Dict) (any, error) {
		var n [3]int64
		for i, a := range args {
			x, _, whole, ok := number(a)
			if !ok || !whole || i > 2 {
				return nil, fmt.Errorf("'%s' object cannot be interpreted as an integer", typeName(a))
			}
			n[i] = x
		}
		start, stop, step := int64(0), n[0], int64(1)
		switch len(args) {
		case 0:
			return nil, errors.New("range expected at least 1 argument, got 0")
		case 3:
			step = n[2]
			fallthrough
		case 2:
			start, stop = n[0], n[1]
		}
		if step == 0 {
			return nil, &Error{Kind: "ValueError", Message: "range() arg 3 must not be zero"}
		}
		// The number of elements, without an overflow.
		var count uint64
		switch {
		case step > 0 && start < stop:
			count = (uint64(stop)-uint64(start)-1)/uint64(step) + 1
		case step < 0 && start > stop:
			count = (uint64(start)-uint64(stop)-1)/-uint64(step) + 1
		}
		if count > maxRange {
			return nil, &Error{Kind: "OverflowError",
				Message: fmt.Sprintf("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)}
		}
		if err := r.room(int(count)); err != nil {
			return nil, err
		}
		l := make([]any, count)
		for i := range l {
			l[i] = start + int64(i)*step
		}
		return &List{Items: l}, nil
	}},
	"dict": &function{"dict", func(r *run, args []any, kw *Dict) (any, error) {
		d := NewDict()
		if len(args) > 0 {
			if src, ok := args[0].(*Dict); ok {
				if err := r.extend(d, src); err != nil {
					return nil, err
				}
			} else {
				l, err := r.items(args[0])
				if err != nil {
					return nil, err
				}
				for _, e := range l {
					p, err := r.items(e)
					if err != nil || len(p) != 2 {
						return nil, errors.New("dictionary update sequence element is not a pair")
					}
					if err := r.set(d, p[0], p[1]); err != nil {
						return nil, err
					}
				}
			}
		}
		return d, r.extend(d, kw)
	}},
	"namespace": &function{"namespace", func(r *run, args []any, kw *Dict) (any, error) {
		d := NewDict()
		for _, a := range args {
			src, ok := a.(*Dict)
			if !ok {
				return nil, fmt.Errorf("'%s' object is not a mapping", typeName(a))
			}
			if err := r.extend(d, src); err != nil {
				return nil, err
			}
		}
		if err := r.charge(pairSize); err != nil {
			return nil, err
		}
		return &namespace{d}, r.extend(d, kw)
	}},
	"cycler": &function{"cycler", func(r *run, args []any, _ *Dict) (any, error) {
		if len(args) == 0 {
			return nil, errors.New("at least one item has to be provided")
		}
		i, d := 0, NewDict()
		d.Set("next", &function{"next", func(*run, []any, *Dict) (any, error) {
			v := args[i%len(args)]
			i++
			d.Set("current", args[i%len(args)])
			return v, nil
		}})
		d.Set("reset", &function{"reset", func(*run, []any, *Dict) (any, error) {
			i = 0
			d.Set("current", args[0])
			return nil, nil
		}})
		d.Set("current", args[0])
		return &namespace{d}, r.charge(8 * pairSize)
	}},
	"joiner": &function{"joiner", func(r *run, args []any, kw *Dict) (any, error) {
		used := false
		sep, err := (&params{pos: args, kw: kw}).text(r, 0, "sep", ", ")
		if err == nil {
			err = r.charge(callSize)
		}
		if err != nil {
			return nil, err
		}
		return &function{"joiner", func(*run, []any, *Dict) (any, error) {
			if !used {
				used = true
				return "", nil
			}
			return sep, nil
		}}, nil
	}},
	"raise_exception": &function{"raise_exception", func(r *run, args []any, kw *Dict) (any, error) {
		s, err := (&params{pos: args, kw: kw}).text(r, 0, "message", "")
		if err != nil {
			return nil, err
		}
		return nil, &Error{Kind: "TemplateError", Message: s}
	}},
	"strftime_now": &function{"strftime_now", func(r *run, args []any, kw *Dict) (any, error) {
		f, ok := (&params{pos: args, kw: kw}).get(0, "format", nil).(string)
		if !ok {
			return nil, errors.New("strftime() argument 1 must be str")
		}
		if err := r.times(len(f), 32); err != nil { // what a letter may become
			return nil, err
		}
		return strftime(r.now(), f), nil
	}},
}
