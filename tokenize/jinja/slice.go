package jinja

import (
	"errors"
	"strings"
	"unicode/utf8"
)

type sliceExpr struct {
	e    expr
	part [3]expr
	line int
}

func (e *sliceExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	var idx [3]*int64
	for i, p := range e.part {
		if p == nil {
			continue
		}
		x, err := r.eval(p, sc)
		if err != nil {
			return nil, err
		}
		if x == nil {
			continue
		}
		n, _, whole, ok := number(x)
		if !ok || !whole {
			return nil, at(e.line, errors.New("slice indices must be integers or None or have an __index__ method"))
		}
		idx[i] = &n
	}
	step := int64(1)
	if idx[2] != nil {
		step = *idx[2]
	}
	if step == 0 {
		return nil, at(e.line, errors.New("slice step cannot be zero"))
	}
	switch x := v.(type) {
	case string:
		if step == 1 {
			s, err := r.part(x, idx)
			return s, at(e.line, err)
		}
		if err := r.times(len(x), 12); err != nil { // characters, and which of them
			return nil, at(e.line, err)
		}
		var sb strings.Builder
		l := []rune(x)
		for _, i := range sliceIndices(len(l), idx, step) {
			sb.WriteRune(l[i])
		}
		s, err := r.newString(sb.String())
		return s, at(e.line, err)
	case *List:
		if err := r.times(len(x.Items), 8); err != nil {
			return nil, at(e.line, err)
		}
		which := sliceIndices(len(x.Items), idx, step)
		if err := r.room(len(which)); err != nil {
			return nil, at(e.line, err)
		}
		l := make([]any, len(which))
		for k, i := range which {
			l[k] = x.Items[i]
		}
		return &List{l, x.Tuple}, nil
	case undefined:
		return nil, at(e.line, x.err())
	}
	return r.missing("%s has no such element", objectName(v))
}

// part is a slice of a text that leaves nothing out between.
func (r *run) part(s string, idx [3]*int64) (any, error) {
	if err := r.touch(len(s) / 8); err != nil {
		return nil, err
	}
	n := utf8.RuneCountInString(s)
	ends := [2]int{0, n}
	for k := range ends {
		if p := idx[k]; p != nil {
			i := *p
			if i < 0 {
				i += int64(n)
			}
			ends[k] = int(min(max(i, 0), int64(n)))
		}
	}
	if ends[0] >= ends[1] {
		return "", nil
	}
	from, to, at := len(s), len(s), 0
	for i := range s {
		if at == ends[0] {
			from = i
		}
		if at == ends[1] {
			to = i
			break
		}
		at++
	}
	return s[from:to], nil
}

func sliceIndices(n int, idx [3]*int64, step int64) []int {
	size := int64(n)
	lo, hi := int64(0), size
	if step < 0 {
		lo, hi = -1, size-1
	}
	clamp := func(p *int64, def int64) int64 {
		if p == nil {
			return def
		}
		i := *p
		if i < 0 {
			i += size
		}
		return min(max(i, lo), hi)
	}
	var out []int
	if step > 0 {
		for i, end := clamp(idx[0], lo), clamp(idx[1], hi); i < end; i += step {
			out = append(out, int(i))
			if step > size {
				break
			}
		}
		return out
	}
	for i, end := clamp(idx[0], hi), clamp(idx[1], lo); i > end; i += step {
		out = append(out, int(i))
		if step < -size {
			break
		}
	}
	return out
}
