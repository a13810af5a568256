package jinja

import (
	"fmt"
	"strings"
	"unicode"
)

func isAlnum(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

type testFunc = func(r *run, v any, args []any) (bool, error)

// testTable are Jinja's tests by name.
var testTable map[string]testFunc

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

func init() {
	testTable = map[string]testFunc{
		"defined":   kindTest(func(v any) bool { _, ok := v.(undefined); return !ok }),
		"undefined": kindTest(func(v any) bool { _, ok := v.(undefined); return ok }),
		"none":      kindTest(func(v any) bool { return v == nil }),
		"boolean":   kindTest(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":      kindTest(func(v any) bool { return v == true }),
		"false":     kindTest(func(v any) bool { return v == false }),
		"integer":   kindTest(func(v any) bool { _, ok := v.(int64); return ok }),
		"float":     kindTest(func(v any) bool { _, ok := v.(float64); return ok }),
		"number":    kindTest(func(v any) bool { _, _, _, ok := number(v); return ok }),
		"string":    kindTest(func(v any) bool { _, ok := v.(string); return ok }),
		"mapping":   kindTest(func(v any) bool { _, ok := v.(*Dict); return ok }),
		"iterable":  kindTest(iterable),
		"sequence": kindTest(func(v any) bool {
			switch v.(type) {
			case string, *List, *Dict:
				return true
			}
			return false
		}),
		"callable": kindTest(func(v any) bool { _, ok := v.(*function); return ok }),
		"escaped":  kindTest(func(any) bool { return false }),
		"lower":    textTest(func(s string) bool { return strings.ToLower(s) == s && strings.ToUpper(s) != s }),
		"upper":    textTest(func(s string) bool { return strings.ToUpper(s) == s && strings.ToLower(s) != s }),
		"odd": func(r *run, v any, _ []any) (bool, error) {
			even, err := testTable["even"](r, v, nil)
			return !even, err
		},
		"even": divides(func(int64, []any) (int64, bool) { return 2, true }),
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
		"filter": textTest(func(s string) bool { return filterTable[s] != nil }),
		"test":   textTest(func(s string) bool { return testTable[s] != nil }),
		"in": func(r *run, v any, args []any) (bool, error) {
			if len(args) != 1 {
				return false, fmt.Errorf("the test in takes one argument")
			}
			return r.contains(args[0], v)
		},
	}
	for op, names := range map[string][]string{"==": {"eq", "equalto"}, "!=": {"ne"}, "<": {"lt", "lessthan"}, "<=": {"le"}, ">": {"gt", "greaterthan"}, ">=": {"ge"}} {
		testTable[op] = relTest(op)
		for _, n := range names {
			testTable[n] = testTable[op]
		}
	}
}
