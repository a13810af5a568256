package jinja

import (
	"fmt"
	"math"
	"slices"
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
		if v, ok, err := r.join(a, b); ok || err != nil {
			return v, err
		}
	case "*":
		if ok1 && ai {
			a, b, j, bi, ok2 = b, a, i, true, true
		}
		if ok2 && bi {
			if v, ok, err := r.repeat(a, max(j, 0)); ok || err != nil {
				return v, err
			}
		}
	case "%":
		if s, ok := a.(string); ok {
			return r.percent(s, b)
		}
	}
	return nil, fmt.Errorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

// join adds two texts or two lists; ok is false where a is neither.
func (r *run) join(a, b any) (v any, ok bool, err error) {
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		if !ok {
			return nil, false, fmt.Errorf(`can only concatenate str (not "%s") to str`, typeName(b))
		}
		v, err := r.concat(x, y)
		return v, true, err
	case *List:
		y, ok := b.(*List)
		if !ok || x.Tuple != y.Tuple {
			return nil, false, fmt.Errorf(`can only concatenate %s (not "%s") to %s`, typeName(a), typeName(b), typeName(a))
		}
		if err := r.room(len(x.Items) + len(y.Items)); err != nil {
			return nil, false, err
		}
		return &List{slices.Concat(x.Items, y.Items), x.Tuple}, true, nil
	}
	return nil, false, nil
}

// repeat is a text or a list n times; ok is false where a is neither.
func (r *run) repeat(a any, n int64) (v any, ok bool, err error) {
	switch x := a.(type) {
	case string:
		if x == "" {
			return "", true, nil
		}
		if n > math.MaxInt32 {
			return nil, false, limit("a text is repeated %d times", n)
		}
		if err := r.times(int(n), len(x)); err != nil {
			return nil, false, err
		}
		return strings.Repeat(x, int(n)), true, nil
	case *List:
		if n > math.MaxInt32 {
			return nil, false, limit("a list is repeated %d times", n)
		}
		if err := r.times(len(x.Items)*int(n), itemSize); err != nil {
			return nil, false, err
		}
		if len(x.Items) == 0 {
			n = 0
		}
		return &List{slices.Repeat(x.Items, int(n)), x.Tuple}, true, r.charge(listSize)
	}
	return nil, false, nil
}

func arithmetic(op string, i, j int64, f, g float64, whole bool) (any, error) {
	if (op == "/" || op == "//" || op == "%") && g == 0 {
		return nil, &Error{Kind: "ZeroDivisionError", Message: "division by zero"}
	}
	if whole && op != "/" {
		return integers(op, i, j)
	}
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

// integers is arithmetic of whole numbers but for /.
func integers(op string, i, j int64) (any, error) {
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
		return power(i, j)
	}
	return nil, errRange
}

// power is i ** j.
func power(i, j int64) (any, error) {
	switch {
	case j < 0:
		return math.Pow(float64(i), float64(j)), nil
	case j == 0:
		return int64(1), nil
	case i == 0 || i == 1:
		return i, nil
	case i == -1:
		return 1 - 2*(j%2), nil
	}
	s := int64(1)
	for k := int64(0); k < j; k++ {
		n := s * i
		if k > 64 || n/i != s {
			return nil, errRange
		}
		s = n
	}
	return s, nil
}
