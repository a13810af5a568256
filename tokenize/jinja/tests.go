package jinja

import (
	"fmt"
	"unicode"
)

func isAlnum(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

type testFunc = func(r *run, v any, args []any) (bool, error)

func kindTest(f func(any) bool) testFunc {
	return func(_ *run, v any, _ []any) (bool, error) { return f(v), nil }
}

func relTest(op string) testFunc {
	return func(r *run, v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, fmt.Errorf("the test %s takes one argument", op)
		}
		return r.relate(op, v, args[0])
	}
}

// textTest tests the text of a value.
func textTest(f func(string) bool) testFunc {
	return func(r *run, v any, _ []any) (bool, error) {
		s, err := r.str(v)
		if err == nil {
			err = r.mapping(4 * len(s)) // two copies, of which a character may grow
		}
		return err == nil && f(s), err
	}
}

func divides(want func(m int64, args []any) (int64, bool)) testFunc {
	return func(_ *run, v any, args []any) (bool, error) {
		i, _, whole, ok := number(v)
		if !ok || !whole {
			return false, fmt.Errorf("unsupported operand type(s) for %%: '%s' and 'int'", typeName(v))
		}
		by, ok := want(i, args)
		if !ok || by == 0 {
			return false, &Error{Kind: "ZeroDivisionError", Message: "integer modulo by zero"}
		}
		return i%by == 0, nil
	}
}

// testTable are Jinja's tests by name.
var testTable = map[string]testFunc{
	"defined":   func(_ *run, v any, _ []any) (bool, error) { return !isKind[undefined](v), nil },
	"undefined": kindTest(isKind[undefined]),
	"none":      kindTest(func(v any) bool { return v == nil }),
	"boolean":   kindTest(isKind[bool]),
	"true":      kindTest(func(v any) bool { return v == true }),
	"false":     kindTest(func(v any) bool { return v == false }),
	"integer":   kindTest(isKind[int64]),
	"float":     kindTest(isKind[float64]),
	"number":    kindTest(func(v any) bool { _, _, _, ok := number(v); return ok }),
	"string":    kindTest(isKind[string]),
	"mapping":   kindTest(isKind[*Dict]),
	"iterable":  kindTest(iterable),
	"sequence":  kindTest(func(v any) bool { return isKind[string](v) || isKind[*List](v) || isKind[*Dict](v) }),
	"callable":  kindTest(isKind[*function]),
	"escaped":   kindTest(func(any) bool { return false }),
	"lower":     textTest(isLower),
	"upper":     textTest(isUpper),
	"odd": func(r *run, v any, _ []any) (bool, error) {
		even, err := isEven(r, v, nil)
		return !even, err
	},
	"even": isEven,
	"divisibleby": divides(func(_ int64, args []any) (int64, bool) {
		if len(args) != 1 {
			return 0, false
		}
		n, _, whole, ok := number(args[0])
		return n, ok && whole
	}),
	"sameas": func(r *run, v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, fmt.Errorf("the test sameas takes one argument")
		}
		if typeName(v) != typeName(args[0]) {
			return false, nil
		}
		return r.equal(v, args[0])
	},
	"filter": func(r *run, v any, args []any) (bool, error) {
		return textTest(func(s string) bool { return r.filters[s] != nil })(r, v, args)
	},
	"test": func(r *run, v any, args []any) (bool, error) {
		return textTest(func(s string) bool { return r.tests[s] != nil })(r, v, args)
	},
	"in": func(r *run, v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, fmt.Errorf("the test in takes one argument")
		}
		return r.contains(args[0], v)
	},
	"==": relTest("=="), "eq": relTest("=="), "equalto": relTest("=="), "!=": relTest("!="), "ne": relTest("!="),
	"<": relTest("<"), "lt": relTest("<"), "lessthan": relTest("<"), "<=": relTest("<="), "le": relTest("<="),
	">": relTest(">"), "gt": relTest(">"), "greaterthan": relTest(">"), ">=": relTest(">="), "ge": relTest(">="),
}

func isKind[T any](v any) bool { _, ok := v.(T); return ok }

var isEven = divides(func(int64, []any) (int64, bool) { return 2, true })
