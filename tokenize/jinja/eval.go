package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

type expr interface {
	eval(r *run, sc *scope) (any, error)
}

type stmt interface {
	exec(r *run, sc *scope) error
}

type scope struct {
	vars   map[string]any
	parent *scope
}

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) set(name string, v any) {
	if s.vars == nil {
		s.vars = map[string]any{}
	}
	s.vars[name] = v
}

// run is one rendering.
type run struct {
	limits  Limits
	now     func() time.Time
	steps   int
	made    int // bytes of strings and lists made so far
	calls   int // depth of macro calls
	started time.Time
	top     strings.Builder
	chars   int // code points in top
	out     *strings.Builder
	spans   []Span
	wrote   bool
}

func (r *run) step() error {
	if r.steps++; r.steps > r.limits.Steps {
		return limit("the template takes more than %d steps", r.limits.Steps)
	}
	if r.steps&1023 == 0 && time.Since(r.started) > r.limits.Time {
		return limit("the template takes longer than %v", r.limits.Time)
	}
	return nil
}

func limit(format string, a ...any) error {
	return &Error{Kind: "LimitError", Message: fmt.Sprintf(format, a...)}
}

// charge counts n bytes that are about to be made.
func (r *run) charge(n int) error {
	if n < 0 || n > r.limits.Memory || r.made > r.limits.Memory-n {
		return limit("the template makes more than %d bytes of values", r.limits.Memory)
	}
	r.made += n
	return nil
}

func (r *run) newString(s string) (any, error) { return s, r.charge(len(s)) }

func (r *run) list(l []any) (any, error) {
	return &List{Items: l}, r.charge(16 * len(l))
}

func (r *run) write(s string) error {
	if s == "" {
		if r.out == &r.top {
			r.wrote = true
		}
		return nil
	}
	if r.out.Len()+len(s) > r.limits.Output {
		return limit("the template writes more than %d bytes", r.limits.Output)
	}
	if err := r.charge(len(s)); err != nil {
		return err
	}
	if r.out == &r.top {
		r.chars += utf8.RuneCountInString(s)
		r.wrote = true
	}
	r.out.WriteString(s)
	return nil
}

func (r *run) all(body []stmt, sc *scope) error {
	for _, s := range body {
		if err := s.exec(r, sc); err != nil {
			return err
		}
	}
	return nil
}

// capture renders a body into a string.
func (r *run) capture(body []stmt, sc *scope) (string, error) {
	old := r.out
	var sb strings.Builder
	r.out = &sb
	err := r.all(body, sc)
	r.out = old
	return sb.String(), err
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
	line int
}

func (o *output) exec(r *run, sc *scope) error {
	if o.e == nil {
		return r.write(o.text)
	}
	v, err := o.e.eval(r, sc)
	if err != nil {
		return at(o.line, err)
	}
	return at(o.line, r.write(str(v)))
}

type target struct {
	name, attr string
	list       []*target
}

func (t *target) assign(r *run, sc *scope, v any) error {
	switch {
	case t.list != nil:
		l, err := items(v)
		if err != nil {
			return fmt.Errorf("cannot unpack non-iterable %s object", typeName(v))
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
		o, _ := sc.get(t.name)
		n, ok := o.(*namespace)
		if !ok {
			return &Error{Kind: "TemplateRuntimeError", Message: "cannot assign attribute on non-namespace object"}
		}
		n.d.Set(t.attr, v)
		return nil
	}
	sc.set(t.name, v)
	return nil
}

type setStmt struct {
	target *target
	value  expr
	filter expr
	body   []stmt
	line   int
}

func (s *setStmt) exec(r *run, sc *scope) error {
	if err := r.step(); err != nil {
		return err
	}
	var v any
	var err error
	if s.value != nil {
		v, err = s.value.eval(r, sc)
	} else {
		inner := &scope{parent: sc}
		v, err = r.captured(s.body, inner, s.filter)
	}
	if err != nil {
		return at(s.line, err)
	}
	return at(s.line, s.target.assign(r, sc, v))
}

func (r *run) captured(body []stmt, sc *scope, filter expr) (any, error) {
	text, err := r.capture(body, sc)
	if err != nil || filter == nil {
		return text, err
	}
	return filter.eval(r, &scope{vars: map[string]any{"\x00input": text}, parent: sc})
}

// input is what a filter block filters.
type input struct{}

func (*input) eval(_ *run, sc *scope) (any, error) {
	v, _ := sc.get("\x00input")
	return v, nil
}

type filterStmt struct {
	e    expr
	body []stmt
	line int
}

func (s *filterStmt) exec(r *run, sc *scope) error {
	v, err := r.captured(s.body, &scope{parent: sc}, s.e)
	if err != nil {
		return at(s.line, err)
	}
	return r.write(str(v))
}

type withStmt struct {
	targets []*target
	values  []expr
	body    []stmt
	line    int
}

func (s *withStmt) exec(r *run, sc *scope) error {
	in := &scope{parent: sc}
	for i, t := range s.targets {
		v, err := s.values[i].eval(r, sc)
		if err != nil {
			return at(s.line, err)
		}
		if err := t.assign(r, in, v); err != nil {
			return at(s.line, err)
		}
	}
	return r.all(s.body, in)
}

type ifStmt struct {
	conds  []expr
	bodies [][]stmt
	other  []stmt
}

func (s *ifStmt) exec(r *run, sc *scope) error {
	if err := r.step(); err != nil {
		return err
	}
	for i, c := range s.conds {
		v, err := c.eval(r, sc)
		if err != nil {
			return at(0, err)
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

type loopControl struct{ isBreak bool }

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
	line        int
}

func (s *forStmt) exec(r *run, sc *scope) error {
	v, err := s.iter.eval(r, sc)
	if err != nil {
		return at(s.line, err)
	}
	return at(s.line, s.over(r, sc, v, 0))
}

func (s *forStmt) over(r *run, sc *scope, v any, depth int) error {
	if depth > maxDepth {
		return limit("loops recurse deeper than %d", maxDepth)
	}
	list, err := items(v)
	if err != nil {
		return err
	}
	if s.cond != nil {
		var kept []any
		for _, x := range list {
			if err := r.step(); err != nil {
				return err
			}
			in := &scope{parent: sc}
			if err := s.target.assign(r, in, x); err != nil {
				return err
			}
			c, err := s.cond.eval(r, in)
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
		if err := r.step(); err != nil {
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

type macroStmt struct{ m *macro }

func (s *macroStmt) exec(r *run, sc *scope) error {
	sc.set(s.m.name, s.m.bind(sc))
	return nil
}

// maxCalls bounds how deep macros call each other.
const maxCalls = 200

func (m *macro) bind(sc *scope) *function {
	return &function{m.name, func(r *run, args []any, kw *Dict) (any, error) {
		if r.calls++; r.calls > maxCalls {
			return nil, limit("macros call each other deeper than %d", maxCalls)
		}
		defer func() { r.calls-- }()
		if err := r.step(); err != nil {
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
			v, err := m.defaults[i].eval(r, in)
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
			return nil, fmt.Errorf("macro '%s' takes no keyword argument %s", m.name, repr(rest.keys[0]))
		}
		in.set("varargs", &List{extra, true})
		in.set("kwargs", rest)
		return r.capture(m.body, in)
	}}
}

type callStmt struct {
	c    *call
	m    *macro
	line int
}

func (s *callStmt) exec(r *run, sc *scope) error {
	v, err := s.c.with(r, sc, s.m.bind(sc))
	if err != nil {
		return at(s.line, err)
	}
	return at(s.line, r.write(str(v)))
}

// generation marks what the assistant says. As in transformers, the span begins where the text written so far ends, and the first one is lost when nothing
// was written before it.
type generation struct{ body []stmt }

func (s *generation) exec(r *run, sc *scope) error {
	text, err := r.capture(s.body, &scope{parent: sc})
	if err != nil {
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
	if v, ok := sc.get(e.name); ok {
		return v, nil
	}
	return undefined{fmt.Sprintf("'%s' is undefined", e.name)}, nil
}

type listExpr struct {
	list  []expr
	tuple bool
}

func (e *listExpr) eval(r *run, sc *scope) (any, error) {
	l := make([]any, len(e.list))
	for i, x := range e.list {
		v, err := x.eval(r, sc)
		if err != nil {
			return nil, err
		}
		l[i] = v
	}
	return &List{l, e.tuple}, r.charge(16 * len(l))
}

type dictExpr struct{ keys, values []expr }

func (e *dictExpr) eval(r *run, sc *scope) (any, error) {
	d := NewDict()
	for i := range e.keys {
		k, err := e.keys[i].eval(r, sc)
		if err != nil {
			return nil, err
		}
		v, err := e.values[i].eval(r, sc)
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case *List, *Dict:
			return nil, fmt.Errorf("unhashable type: '%s'", typeName(k))
		}
		d.Set(k, v)
	}
	return d, r.charge(64 * len(e.keys))
}

type condExpr struct{ c, a, b expr }

func (e *condExpr) eval(r *run, sc *scope) (any, error) {
	c, err := e.c.eval(r, sc)
	if err != nil {
		return nil, err
	}
	if truth(c) {
		return e.a.eval(r, sc)
	}
	if e.b == nil {
		return undefined{"the inline if-expression evaluated to false and no else section was defined."}, nil
	}
	return e.b.eval(r, sc)
}

type logic struct {
	a, b expr
	or   bool
}

func (e *logic) eval(r *run, sc *scope) (any, error) {
	v, err := e.a.eval(r, sc)
	if err != nil || truth(v) == e.or {
		return v, err
	}
	return e.b.eval(r, sc)
}

type notExpr struct{ e expr }

func (e *notExpr) eval(r *run, sc *scope) (any, error) {
	v, err := e.e.eval(r, sc)
	return !truth(v), err
}

type compareExpr struct {
	first expr
	ops   []string
	rest  []expr
	line  int
}

func (e *compareExpr) eval(r *run, sc *scope) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	a, err := e.first.eval(r, sc)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		b, err := e.rest[i].eval(r, sc)
		if err != nil {
			return nil, err
		}
		ok, err := relate(op, a, b)
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

func relate(op string, a, b any) (bool, error) {
	switch op {
	case "==":
		return equal(a, b), nil
	case "!=":
		return !equal(a, b), nil
	case "in":
		return contains(b, a)
	case "not in":
		ok, err := contains(b, a)
		return !ok, err
	}
	c, err := compare(a, b)
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
	v, err := e.e.eval(r, sc)
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
	if err := r.step(); err != nil {
		return nil, err
	}
	a, err := e.a.eval(r, sc)
	if err != nil {
		return nil, err
	}
	b, err := e.b.eval(r, sc)
	if err != nil {
		return nil, err
	}
	v, err := r.operate(e.op, a, b)
	return v, at(e.line, err)
}

var errRange = errors.New("the number is too large")

func (r *run) operate(op string, a, b any) (any, error) {
	if op == "~" {
		return r.newString(str(a) + str(b))
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
				return r.newString(x + y)
			}
			return nil, fmt.Errorf(`can only concatenate str (not "%s") to str`, typeName(b))
		}
		if x, ok := a.(*List); ok {
			if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
				l := append(append(make([]any, 0, len(x.Items)+len(y.Items)), x.Items...), y.Items...)
				return &List{l, x.Tuple}, r.charge(16 * len(l))
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
				if err := r.charge(len(x) * int(n)); err != nil {
					return nil, err
				}
				return strings.Repeat(x, int(n)), nil
			case *List:
				if n > math.MaxInt32 {
					return nil, limit("a list is repeated %d times", n)
				}
				if err := r.charge(16 * len(x.Items) * int(n)); err != nil {
					return nil, err
				}
				var l []any
				for range n {
					l = append(l, x.Items...)
				}
				return &List{l, x.Tuple}, nil
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
	v, err := e.e.eval(r, sc)
	if err != nil {
		return nil, err
	}
	x, err := attribute(v, e.name)
	return x, at(e.line, err)
}

// attribute is v.name: a method, or an item of a dictionary.
func attribute(v any, name string) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if m := method(v, name); m != nil {
		return m, nil
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
			return i, nil
		}
	}
	return undefined{fmt.Sprintf("'%s' has no attribute '%s'", objectName(v), name)}, nil
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
		return &function{name, func(_ *run, args []any, _ *Dict) (any, error) {
			same := l.changed != nil && equal(&List{Items: l.changed}, &List{Items: args})
			l.changed = append([]any{}, args...)
			return !same, nil
		}}, true
	}
	return nil, false
}

type itemExpr struct {
	e, key expr
	line   int
}

func (e *itemExpr) eval(r *run, sc *scope) (any, error) {
	v, err := e.e.eval(r, sc)
	if err != nil {
		return nil, err
	}
	k, err := e.key.eval(r, sc)
	if err != nil {
		return nil, err
	}
	x, err := item(v, k)
	return x, at(e.line, err)
}

// item is v[key].
func item(v, key any) (any, error) {
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	if i, _, whole, ok := number(key); ok && whole {
		if x, ok := v.(string); ok {
			l := []rune(x)
			if i < 0 {
				i += int64(len(l))
			}
			if i >= 0 && i < int64(len(l)) {
				return string(l[i]), nil
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
		if x, ok := d.Get(key); ok {
			return x, nil
		}
	}
	if s, ok := key.(string); ok {
		x, err := attribute(v, s)
		if err != nil {
			return nil, err
		}
		if _, missing := x.(undefined); !missing {
			return x, nil
		}
		return undefined{fmt.Sprintf("'%s' has no attribute '%s'", objectName(v), s)}, nil
	}
	return undefined{fmt.Sprintf("%s has no element %s", objectName(v), repr(key))}, nil
}

type sliceExpr struct {
	e    expr
	part [3]expr
	line int
}

func (e *sliceExpr) eval(r *run, sc *scope) (any, error) {
	v, err := e.e.eval(r, sc)
	if err != nil {
		return nil, err
	}
	var idx [3]*int64
	for i, p := range e.part {
		if p == nil {
			continue
		}
		x, err := p.eval(r, sc)
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
		var sb strings.Builder
		l := []rune(x)
		for _, i := range sliceIndices(len(l), idx, step) {
			sb.WriteRune(l[i])
		}
		return r.newString(sb.String())
	case *List:
		at := sliceIndices(len(x.Items), idx, step)
		l := make([]any, len(at))
		for k, i := range at {
			l[k] = x.Items[i]
		}
		return &List{l, x.Tuple}, r.charge(16 * len(l))
	case undefined:
		return nil, at(e.line, x.err())
	}
	return undefined{fmt.Sprintf("%s has no such element", objectName(v))}, nil
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
		v, err := e.eval(r, sc)
		if err != nil {
			return nil, nil, err
		}
		pos = append(pos, v)
	}
	if a.star != nil {
		v, err := a.star.eval(r, sc)
		if err != nil {
			return nil, nil, err
		}
		l, err := items(v)
		if err != nil {
			return nil, nil, err
		}
		pos = append(pos, l...)
	}
	kw := NewDict()
	for i, n := range a.names {
		v, err := a.named[i].eval(r, sc)
		if err != nil {
			return nil, nil, err
		}
		kw.Set(n, v)
	}
	if a.kwargs != nil {
		v, err := a.kwargs.eval(r, sc)
		if err != nil {
			return nil, nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, nil, fmt.Errorf("argument after ** must be a mapping, not %s", typeName(v))
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
	if err := r.step(); err != nil {
		return nil, err
	}
	f, err := e.f.eval(r, sc)
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
	if err := r.step(); err != nil {
		return nil, err
	}
	v, err := e.e.eval(r, sc)
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
	v, err := e.e.eval(r, sc)
	if err != nil {
		return nil, err
	}
	args, _, err := e.args.eval(r, sc)
	if err != nil {
		return nil, err
	}
	ok, err := e.fn(v, args)
	return ok != e.negate, at(e.line, err)
}
