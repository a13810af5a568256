package jinja

import (
	"fmt"
	"math"
	"strings"
)

type signExpr struct {
	e    expr
	neg  bool
	line int
}

func (e *signExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		if u, is := v.(undefined); is {
			return nil, at(e.line, u.err())
		}
		return nil, at(e.line, fmt.Errorf("bad operand type for unary -: '%s'", typeName(v)))
	case isInt && e.neg:
		return -i, nil
	case isInt:
		return i, nil
	case e.neg:
		return -f, nil
	}
	return f, nil
}

type binary struct {
	op   string
	a, b expr
	line int
}

func (e *binary) eval(r *run, sc *scope) (any, error) {
	a, err := r.eval(e.a, sc)
	if err != nil {
		return nil, err
	}
	b, err := r.eval(e.b, sc)
	if err != nil {
		return nil, err
	}
	v, err := r.operate(e.op, a, b)
	return v, at(e.line, err)
}

var errRange = limit("the number is too large")

func (r *run) concat(x, y string) (any, error) {
	if err := r.charge(len(x) + len(y)); err != nil {
		return nil, err
	}
	return x + y, nil
}

func (r *run) operate(op string, a, b any) (any, error) {
	if op == "~" {
		x, err := r.str(a)
		if err != nil {
			return nil, err
		}
		y, err := r.str(b)
		if err != nil {
			return nil, err
		}
		return r.concat(x, y)
	}
	if u, ok := a.(undefined); ok {
		return nil, u.err()
	}
	if u, ok := b.(undefined); ok {
		return nil, u.err()
	}
	i, f, ai, ok1 := number(a)
	j, g, bi, ok2 := number(b)
	if ok1 && ok2 {
		return arithmetic(op, i, j, f, g, ai && bi)
	}
	switch op {
	case "+":
		if x, ok := a.(string); ok {
			if y, ok := b.(string); ok {
				return r.concat(x, y)
			}
			return nil, fmt.Errorf(`can only concatenate str (not "%s") to str`, typeName(b))
		}
		if x, ok := a.(*List); ok {
			if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
				if err := r.room(len(x.Items) + len(y.Items)); err != nil {
					return nil, err
				}
				l := append(append(make([]any, 0, len(x.Items)+len(y.Items)), x.Items...), y.Items...)
				return &List{l, x.Tuple}, nil
			}
			return nil, fmt.Errorf(`can only concatenate %s (not "%s") to %s`, typeName(a), typeName(b), typeName(a))
		}
	case "*":
		if ok1 && ai {
			a, b, j, bi, ok2 = b, a, i, true, true
		}
		if ok2 && bi {
			n := max(j, 0)
			switch x := a.(type) {
			case string:
				if x == "" {
					return "", nil
				}
				if n > math.MaxInt32 {
					return nil, limit("a text is repeated %d times", n)
				}
				if err := r.times(int(n), len(x)); err != nil {
					return nil, err
				}
				return strings.Repeat(x, int(n)), nil
			case *List:
				if n > math.MaxInt32 {
					return nil, limit("a list is repeated %d times", n)
				}
				if err := r.times(len(x.Items)*int(n), itemSize); err != nil {
					return nil, err
				}
				if len(x.Items) == 0 {
					n = 0
				}
				l := make([]any, 0, len(x.Items)*int(n))
				for range n {
					l = append(l, x.Items...)
				}
				return &List{l, x.Tuple}, r.charge(listSize)
			}
		}
	case "%":
		if s, ok := a.(string); ok {
			return r.percent(s, b)
		}
	}
	return nil, fmt.Errorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

func arithmetic(op string, i, j int64, f, g float64, whole bool) (any, error) {
	if (op == "/" || op == "//" || op == "%") && g == 0 {
		return nil, &Error{Kind: "ZeroDivisionError", Message: "division by zero"}
	}
	if !whole {
		switch op {
		case "+":
			return f + g, nil
		case "-":
			return f - g, nil
		case "*":
			return f * g, nil
		case "/":
			return f / g, nil
		case "//":
			return math.Floor(f / g), nil
		case "%":
			return f - g*math.Floor(f/g), nil
		}
		return math.Pow(f, g), nil
	}
	switch op {
	case "+":
		if s := i + j; (s > i) == (j > 0) || j == 0 {
			return s, nil
		}
	case "-":
		if s := i - j; (s < i) == (j > 0) || j == 0 {
			return s, nil
		}
	case "*":
		if i == 0 || j == 0 {
			return int64(0), nil
		}
		if s := i * j; s/j == i && !(i == -1 && j == math.MinInt64) && !(j == -1 && i == math.MinInt64) {
			return s, nil
		}
	case "/":
		return f / g, nil
	case "//", "%":
		q, m := i/j, i%j
		if m != 0 && (m < 0) != (j < 0) {
			q, m = q-1, m+j
		}
		if op == "%" {
			return m, nil
		}
		return q, nil
	case "**":
		if j < 0 {
			return math.Pow(f, g), nil
		}
		s := int64(1)
		for k := int64(0); k < j; k++ {
			if k > 64 && i != 0 && i != 1 && i != -1 {
				return nil, errRange
			}
			if i == 0 || i == 1 {
				return i, nil
			}
			if i == -1 {
				if j%2 == 0 {
					return int64(1), nil
				}
				return i, nil
			}
			n := s * i
			if n/i != s {
				return nil, errRange
			}
			s = n
		}
		return s, nil
	}
	return nil, errRange
}
