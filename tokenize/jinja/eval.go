package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

type expr interface {
	eval(r *run, sc *scope) (any, error)
}

type stmt interface {
	exec(r *run, sc *scope) error
	where() int // line
}

// line is where a statement or an expression stands in the template.
type line int

func (l line) where() int { return int(l) }

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

func at(line int, err error) error {
	var e *Error
	if errors.As(err, &e) {
		if e.Line == 0 && line > 0 {
			c := *e
			c.Line = line
			return &c
		}
		return err
	}
	if errors.Is(err, errBreak) || errors.Is(err, errContinue) || err == nil {
		return err
	}
	return &Error{Kind: "TypeError", Message: err.Error(), Line: line}
}

type output struct {
	text string
	e    expr
	line
}

func (o *output) exec(r *run, sc *scope) error {
	if o.e == nil {
		return r.write(o.text)
	}
	return r.print(o.e, sc)
}

// print writes a value.
func (r *run) print(e expr, sc *scope) error {
	v, err := r.eval(e, sc)
	if err != nil {
		return err
	}
	t, err := r.str(v)
	if err != nil {
		return err
	}
	return r.write(t)
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

type setStmt struct {
	target *target
	value  expr
	filter expr
	body   []stmt
	line
}

func (s *setStmt) exec(r *run, sc *scope) error {
	var v any
	var err error
	if s.value != nil {
		v, err = r.eval(s.value, sc)
	} else {
		inner := &scope{parent: sc}
		v, err = r.captured(s.body, inner, s.filter)
	}
	if err != nil {
		return err
	}
	return s.target.assign(r, sc, v)
}

func (r *run) captured(body []stmt, sc *scope, filter expr) (any, error) {
	text, err := r.capture(body, sc)
	if err != nil || filter == nil {
		return text, err
	}
	return r.eval(filter, &scope{vars: map[string]any{"\x00input": text}, parent: sc})
}

// input is what a filter block filters.
type input struct{}

func (*input) eval(r *run, sc *scope) (any, error) {
	v, depth, _ := sc.get("\x00input")
	return v, r.touch(depth / 4)
}

type filterStmt struct {
	e    expr
	body []stmt
	line
}

func (s *filterStmt) exec(r *run, sc *scope) error {
	v, err := r.captured(s.body, &scope{parent: sc}, s.e)
	if err != nil {
		return err
	}
	text, err := r.str(v)
	if err != nil {
		return err
	}
	return r.write(text)
}

type withStmt struct {
	targets []*target
	values  []expr
	body    []stmt
	line
}

func (s *withStmt) exec(r *run, sc *scope) error {
	in := &scope{parent: sc}
	for i, t := range s.targets {
		v, err := r.eval(s.values[i], sc)
		if err != nil {
			return err
		}
		if err := t.assign(r, in, v); err != nil {
			return err
		}
	}
	return r.all(s.body, in)
}

type ifStmt struct {
	conds  []expr
	bodies [][]stmt
	other  []stmt
	line
}

func (s *ifStmt) exec(r *run, sc *scope) error {
	for i, c := range s.conds {
		v, err := r.eval(c, sc)
		if err != nil {
			return err
		}
		if truth(v) {
			return r.all(s.bodies[i], sc)
		}
	}
	return r.all(s.other, sc)
}

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

type macro struct {
	name     string
	args     []string
	defaults []expr
	body     []stmt

	varargs, kwargs bool // the body uses them
}

type macroStmt struct {
	m *macro
	line
}

func (s *macroStmt) exec(r *run, sc *scope) error {
	sc.set(s.m.name, s.m.bind(sc))
	return r.charge(callSize)
}

// scopeSteps is what a scope with its names takes.
const scopeSteps = 4

// maxCalls bounds how deep macros call each other.
const maxCalls = 200

func (m *macro) bind(sc *scope) *function {
	return &function{m.name, func(r *run, args []any, kw *Dict) (any, error) {
		if r.calls++; r.calls > maxCalls {
			return nil, limit("macros call each other deeper than %d", maxCalls)
		}
		defer func() { r.calls-- }()
		if err := r.touch(2*scopeSteps + len(args) + len(m.args) + kw.Len()*(1+len(m.args))); err != nil {
			return nil, err
		}
		in := &scope{parent: sc, vars: map[string]any{}}
		rest := NewDict()
		for _, k := range kw.Keys() {
			if v, _ := kw.Get(k); k == "caller" || inList(m.args, k.(string)) {
				in.set(k.(string), v)
			} else {
				rest.Set(k, v)
			}
		}
		for i, n := range m.args {
			if i < len(args) {
				if _, twice := in.vars[n]; twice {
					return nil, fmt.Errorf("macro '%s' got multiple values for argument '%s'", m.name, n)
				}
				in.set(n, args[i])
			}
		}
		for i, n := range m.args {
			if _, ok := in.vars[n]; ok {
				continue
			}
			if m.defaults[i] == nil {
				in.set(n, undefined{fmt.Sprintf("parameter '%s' was not provided", n)})
				continue
			}
			v, err := r.eval(m.defaults[i], in)
			if err != nil {
				return nil, err
			}
			in.set(n, v)
		}
		extra := []any{}
		if len(args) > len(m.args) {
			extra = args[len(m.args):]
			if !m.varargs {
				return nil, fmt.Errorf("macro '%s' takes not more than %d argument(s)", m.name, len(m.args))
			}
		}
		if rest.Len() > 0 && !m.kwargs {
			return nil, fmt.Errorf("macro '%s' takes no keyword argument %s", m.name, brief(rest.keys[0]))
		}
		in.set("varargs", &List{extra, true})
		in.set("kwargs", rest)
		return r.capture(m.body, in)
	}}
}

type callStmt struct {
	c *call
	m *macro
	line
}

func (s *callStmt) exec(r *run, sc *scope) error {
	v, err := s.c.with(r, sc, s.m.bind(sc))
	if err != nil {
		return err
	}
	text, err := r.str(v)
	if err != nil {
		return err
	}
	return r.write(text)
}

// generation marks what the assistant says. As in transformers, the span begins where the text written so far ends, and the first one is lost when nothing
// was written before it.
type generation struct {
	body []stmt
	line
}

func (s *generation) exec(r *run, sc *scope) error {
	text, err := r.capture(s.body, &scope{parent: sc})
	if err != nil {
		return err
	}
	if err := r.charge(itemSize); err != nil {
		return err
	}
	if r.wrote || len(r.spans) > 0 {
		r.spans = append(r.spans, Span{r.chars, r.chars + utf8.RuneCountInString(text)})
	}
	return r.write(text)
}

type constant struct{ v any }

func (e *constant) eval(*run, *scope) (any, error) { return e.v, nil }

type nameExpr struct{ name string }

func (e *nameExpr) eval(r *run, sc *scope) (any, error) {
	v, depth, ok := sc.get(e.name)
	if err := r.touch(depth / 4); err != nil || ok {
		return v, err
	}
	return r.missing("'%s' is undefined", e.name)
}

type listExpr struct {
	list  []expr
	tuple bool
}

func (e *listExpr) eval(r *run, sc *scope) (any, error) {
	if err := r.room(len(e.list)); err != nil {
		return nil, err
	}
	l := make([]any, len(e.list))
	for i, x := range e.list {
		v, err := r.eval(x, sc)
		if err != nil {
			return nil, err
		}
		l[i] = v
	}
	return &List{l, e.tuple}, nil
}

type dictExpr struct{ keys, values []expr }

func (e *dictExpr) eval(r *run, sc *scope) (any, error) {
	d := NewDict()
	for i := range e.keys {
		k, err := r.eval(e.keys[i], sc)
		if err != nil {
			return nil, err
		}
		v, err := r.eval(e.values[i], sc)
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case *List, *Dict:
			return nil, fmt.Errorf("unhashable type: '%s'", typeName(k))
		}
		if err := r.set(d, k, v); err != nil {
			return nil, err
		}
	}
	return d, r.charge(listSize)
}

type condExpr struct{ c, a, b expr }

func (e *condExpr) eval(r *run, sc *scope) (any, error) {
	c, err := r.eval(e.c, sc)
	if err != nil {
		return nil, err
	}
	if truth(c) {
		return r.eval(e.a, sc)
	}
	if e.b == nil {
		return undefined{"the inline if-expression evaluated to false and no else section was defined."}, nil
	}
	return r.eval(e.b, sc)
}

type logic struct {
	a, b expr
	or   bool
}

func (e *logic) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.a, sc)
	if err != nil || truth(v) == e.or {
		return v, err
	}
	return r.eval(e.b, sc)
}

type notExpr struct{ e expr }

func (e *notExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	return !truth(v), err
}

type compareExpr struct {
	first expr
	ops   []string
	rest  []expr
	line  int
}

func (e *compareExpr) eval(r *run, sc *scope) (any, error) {
	a, err := r.eval(e.first, sc)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		b, err := r.eval(e.rest[i], sc)
		if err != nil {
			return nil, err
		}
		ok, err := r.relate(op, a, b)
		if err != nil {
			return nil, at(e.line, err)
		}
		if !ok {
			return false, nil
		}
		a = b
	}
	return true, nil
}

func (r *run) relate(op string, a, b any) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(a, b)
		return same == (op == "=="), err
	case "in", "not in":
		has, err := r.contains(b, a)
		return has == (op == "in"), err
	}
	c, err := r.compare(a, b)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

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

type attrExpr struct {
	e    expr
	name string
	line int
}

func (e *attrExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	x, err := r.attribute(v, e.name)
	return x, at(e.line, err)
}

// attribute is v.name: a method, or an item of a dictionary.
func (r *run) attribute(v any, name string) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if err := r.read(len(name)); err != nil {
		return nil, err
	}
	if m := method(v, name); m != nil {
		return m, r.charge(callSize)
	}
	switch x := v.(type) {
	case *Dict:
		if i, ok := x.Get(name); ok {
			return i, nil
		}
	case *namespace:
		if i, ok := x.d.Get(name); ok {
			return i, nil
		}
	case *loop:
		if i, ok := x.attribute(name); ok {
			return i, r.charge(callSize)
		}
	}
	return r.missing("'%s' has no attribute %s", objectName(v), brief(name))
}

// missing is a value that is not there, with the reason.
func (r *run) missing(format string, a ...any) (any, error) {
	return undefined{fmt.Sprintf(format, a...)}, r.charge(callSize)
}

func objectName(v any) string {
	if v == nil {
		return "None"
	}
	return typeName(v) + " object"
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

type itemExpr struct {
	e, key expr
	line   int
}

func (e *itemExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	k, err := r.eval(e.key, sc)
	if err != nil {
		return nil, err
	}
	x, err := r.item(v, k)
	return x, at(e.line, err)
}

// item is v[key].
func (r *run) item(v, key any) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if i, _, whole, ok := number(key); ok && whole {
		if x, ok := v.(string); ok {
			if c, ok, err := r.character(x, i); ok || err != nil {
				return c, err
			}
		}
		if x, ok := v.(*List); ok {
			if i < 0 {
				i += int64(len(x.Items))
			}
			if i >= 0 && i < int64(len(x.Items)) {
				return x.Items[i], nil
			}
		}
	}
	if d, ok := v.(*Dict); ok {
		if x, ok, err := r.get(d, key); ok || err != nil {
			return x, err
		}
	}
	if s, ok := key.(string); ok {
		return r.attribute(v, s)
	}
	return r.missing("%s has no element %s", objectName(v), brief(key))
}

// character is the i-th character of s, from its end where i is negative.
func (r *run) character(s string, i int64) (any, bool, error) {
	n := i
	if i < 0 {
		n = -i - 1
	}
	if n < 0 || n >= int64(len(s)) {
		return nil, false, nil
	}
	if err := r.touch(1 + int(n)/8); err != nil {
		return nil, false, err
	}
	for ; s != ""; n-- {
		var size int
		if i >= 0 {
			_, size = utf8.DecodeRuneInString(s)
		} else {
			_, size = utf8.DecodeLastRuneInString(s)
		}
		switch {
		case n == 0 && i >= 0:
			return string([]rune(s[:size])), true, nil
		case n == 0:
			return string([]rune(s[len(s)-size:])), true, nil
		case i >= 0:
			s = s[size:]
		default:
			s = s[:len(s)-size]
		}
	}
	return nil, false, nil
}

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

type arguments struct {
	pos          []expr
	names        []string
	named        []expr
	star, kwargs expr
}

func (a *arguments) eval(r *run, sc *scope) ([]any, *Dict, error) {
	pos := make([]any, 0, len(a.pos))
	for _, e := range a.pos {
		v, err := r.eval(e, sc)
		if err != nil {
			return nil, nil, err
		}
		pos = append(pos, v)
	}
	if a.star != nil {
		v, err := r.eval(a.star, sc)
		if err != nil {
			return nil, nil, err
		}
		l, err := r.items(v)
		if err != nil {
			return nil, nil, err
		}
		if err := r.room(len(l)); err != nil {
			return nil, nil, err
		}
		pos = append(pos, l...)
	}
	kw := NewDict()
	for i, n := range a.names {
		v, err := r.eval(a.named[i], sc)
		if err != nil {
			return nil, nil, err
		}
		kw.Set(n, v)
	}
	if a.kwargs != nil {
		v, err := r.eval(a.kwargs, sc)
		if err != nil {
			return nil, nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, nil, fmt.Errorf("argument after ** must be a mapping, not %s", typeName(v))
		}
		if err := r.times(d.Len(), pairSize); err != nil {
			return nil, nil, err
		}
		for _, k := range d.keys {
			if _, ok := k.(string); !ok {
				return nil, nil, errors.New("keywords must be strings")
			}
			kw.Set(k, d.m[k])
		}
	}
	return pos, kw, nil
}

type call struct {
	f    expr
	args arguments
	line int
}

func (e *call) eval(r *run, sc *scope) (any, error) { return e.with(r, sc, nil) }

func (e *call) with(r *run, sc *scope, caller *function) (any, error) {
	f, err := r.eval(e.f, sc)
	if err != nil {
		return nil, err
	}
	args, kw, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		kw.Set("caller", caller)
	}
	switch x := f.(type) {
	case *function:
		v, err := x.call(r, args, kw)
		return v, at(e.line, err)
	case *loop:
		if x.again == nil {
			//lint:ignore ST1005 Jinja's own words, which templates' users know
			return nil, at(e.line, errors.New("The loop must have the 'recursive' marker to be called recursively."))
		}
		if len(args) != 1 {
			return nil, at(e.line, errors.New("loop() takes one iterable"))
		}
		v, err := x.again(args[0])
		return v, at(e.line, err)
	case undefined:
		return nil, at(e.line, x.err())
	}
	return nil, at(e.line, fmt.Errorf("'%s' object is not callable", typeName(f)))
}

type filterExpr struct {
	e    expr
	name string
	fn   builtin
	args arguments
	line int
}

func (e *filterExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	args, kw, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	x, err := e.fn(r, v, &params{name: e.name, pos: args, kw: kw})
	return x, at(e.line, err)
}

type testExpr struct {
	e      expr
	fn     testFunc
	args   arguments
	negate bool
	line   int
}

func (e *testExpr) eval(r *run, sc *scope) (any, error) {
	v, err := r.eval(e.e, sc)
	if err != nil {
		return nil, err
	}
	args, _, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	ok, err := e.fn(r, v, args)
	return ok != e.negate, at(e.line, err)
}
