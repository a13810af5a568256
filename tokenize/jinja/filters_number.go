package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func filterAbs(_ *run, v any, _ *params) (any, error) {
	i, f, whole, ok := number(v)
	if !ok {
		return nil, fmt.Errorf("bad operand type for abs(): '%s'", typeName(v))
	}
	if whole {
		return max(i, -i), nil
	}
	return math.Abs(f), nil
}

func filterFloat(r *run, v any, p *params) (any, error) {
	_, f, _, ok := number(v)
	if s, is := v.(string); is {
		if err := r.touch(len(s) / 4); err != nil {
			return nil, err
		}
		x, err := strconv.ParseFloat(strings.TrimFunc(s, space), 64)
		f, ok = x, err == nil
	}
	if !ok {
		return p.get(0, "default", 0.0), nil
	}
	return f, nil
}

func filterInt(r *run, v any, p *params) (any, error) {
	i, f, whole, ok := number(v)
	switch x := v.(type) {
	case string:
		if err := r.touch(len(x) / 4); err != nil {
			return nil, err
		}
		base, err := p.whole(1, "base", 10)
		if err != nil {
			return nil, err
		}
		t := strings.TrimFunc(x, space)
		n, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimPrefix(t, "0x"), "0X"), base, 64)
		if err == nil && (base == 16 || !strings.HasPrefix(t, "0x")) {
			return n, nil
		}
		if g, err := strconv.ParseFloat(t, 64); err == nil && math.Abs(g) < 1<<62 {
			return int64(g), nil
		}
		return p.get(0, "default", int64(0)), nil
	}
	switch {
	case ok && whole:
		return i, nil
	case ok && math.Abs(f) < 1<<62:
		return int64(f), nil
	}
	return p.get(0, "default", int64(0)), nil
}

func filterRound(r *run, v any, p *params) (any, error) {
	_, f, _, ok := number(v)
	if !ok {
		return nil, fmt.Errorf("type %s doesn't define __round__ method", typeName(v))
	}
	n, err := p.whole(0, "precision", 0)
	if err != nil {
		return nil, err
	}
	if n > 400 || n < -400 { // beyond what a float has
		return map[bool]float64{true: f, false: 0}[n > 0], nil
	}
	scale := math.Pow10(n)
	m, err := p.text(r, 1, "method", "common")
	if err != nil {
		return nil, err
	}
	switch m {
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	case "common":
		if n < 0 {
			return math.RoundToEven(f*scale) / scale, nil
		}
		x, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', n, 64), 64)
		return x, err
	}
	return nil, &Error{Kind: "FilterArgumentError", Message: "method must be common, ceil or floor"}
}

func filterSum(r *run, v any, p *params) (any, error) {
	l, err := r.items(v)
	if err != nil {
		return nil, err
	}
	get, sum := r.getter(p.get(0, "attribute", nil), nil), p.get(1, "start", int64(0))
	for _, x := range l {
		a, err := get(x)
		if err != nil {
			return nil, err
		}
		if sum, err = r.operate("+", sum, a); err != nil {
			return nil, err
		}
	}
	return sum, nil
}
