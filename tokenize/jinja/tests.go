package jinja

import (
	"fmt"
	"strings"
	"unicode"
)

func isAlnum(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

type testFunc = func(v any, args []any) (bool, error)

// testTable are Jinja's tests by name.
var testTable map[string]testFunc

func kindTest(f func(any) bool) testFunc {
	return func(v any, _ []any) (bool, error) { return f(v), nil }
}

func relTest(op string) testFunc {
	return func(v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, fmt.Errorf("the test %s takes one argument", op)
		}
		return relate(op, v, args[0])
	}
}

func divides(want func(m int64, args []any) (int64, bool)) testFunc {
	return func(v any, args []any) (bool, error) {
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
		"iterable":  kindTest(func(v any) bool { _, err := items(v); return err == nil }),
		"sequence": kindTest(func(v any) bool {
			switch v.(type) {
			case string, *List, *Dict:
				return true
			}
			return false
		}),
		"callable": kindTest(func(v any) bool { _, ok := v.(*function); return ok }),
		"escaped":  kindTest(func(any) bool { return false }),
		"lower":    kindTest(func(v any) bool { s := str(v); return strings.ToLower(s) == s && strings.ToUpper(s) != s }),
		"upper":    kindTest(func(v any) bool { s := str(v); return strings.ToUpper(s) == s && strings.ToLower(s) != s }),
		"odd": func(v any, _ []any) (bool, error) {
			even, err := testTable["even"](v, nil)
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
		"sameas": func(v any, args []any) (bool, error) {
			if len(args) != 1 {
				return false, fmt.Errorf("the test sameas takes one argument")
			}
			return typeName(v) == typeName(args[0]) && equal(v, args[0]), nil
		},
		"filter": kindTest(func(v any) bool { return filterTable[str(v)] != nil }),
		"test":   kindTest(func(v any) bool { return testTable[str(v)] != nil }),
		"in": func(v any, args []any) (bool, error) {
			if len(args) != 1 {
				return false, fmt.Errorf("the test in takes one argument")
			}
			return contains(args[0], v)
		},
	}
	for op, names := range map[string][]string{"==": {"eq", "equalto"}, "!=": {"ne"}, "<": {"lt", "lessthan"}, "<=": {"le"}, ">": {"gt", "greaterthan"}, ">=": {"ge"}} {
		testTable[op] = relTest(op)
		for _, n := range names {
			testTable[n] = testTable[op]
		}
	}
}
