package jinja

import (
	"strconv"
	"strings"
)

// tuple parses one expression, or several with commas between as a tuple.
func (p *parser) tuple(cond bool, ends []string) (expr, error) {
	var list []expr
	tuple := false
	for {
		if len(list) > 0 && (p.cur().kind == tBlockEnd || p.cur().kind == tVarEnd || p.isOp(")") ||
			p.cur().kind == tName && inList(ends, p.cur().val)) {
			break
		}
		e, err := p.expr(cond)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.skipOp(",") {
			break
		}
		tuple = true
	}
	if tuple {
		return &listExpr{list, true}, nil
	}
	return list[0], nil
}

// expr parses an expression; with cond, `a if b else c` too.
func (p *parser) expr(cond bool) (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	if err != nil || !cond {
		return e, err
	}
	for p.skipName("if") {
		c, err := p.or()
		if err != nil {
			return nil, err
		}
		x := &condExpr{c: c, a: e}
		if p.skipName("else") {
			if x.b, err = p.expr(true); err != nil {
				return nil, err
			}
		}
		e = x
	}
	return e, nil
}

func (p *parser) or() (expr, error) {
	a, err := p.and()
	for err == nil && p.skipName("or") {
		var b expr
		b, err = p.and()
		a = &logic{a, b, true}
	}
	return a, err
}

func (p *parser) and() (expr, error) {
	a, err := p.not()
	for err == nil && p.skipName("and") {
		var b expr
		b, err = p.not()
		a = &logic{a, b, false}
	}
	return a, err
}

func (p *parser) not() (expr, error) {
	if p.isName("not") {
		if err := p.deeper(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		p.i++
		e, err := p.not()
		return &notExpr{e}, err
	}
	return p.compare()
}

func (p *parser) compare() (expr, error) {
	a, err := p.math1()
	if err != nil {
		return nil, err
	}
	c := &compareExpr{first: a, line: p.cur().line}
	for {
		op := ""
		switch {
		case p.cur().kind == tOp && inList([]string{"==", "!=", "<", "<=", ">", ">="}, p.cur().val):
			op = p.pop().val
		case p.skipName("in"):
			op = "in"
		case p.isName("not") && p.look().kind == tName && p.look().val == "in":
			p.i += 2
			op = "not in"
		}
		if op == "" {
			break
		}
		b, err := p.math1()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, b)
	}
	if len(c.ops) == 0 {
		return a, nil
	}
	return c, nil
}

func (p *parser) binary(sub func() (expr, error), ops ...string) (expr, error) {
	a, err := sub()
	for err == nil && p.cur().kind == tOp && inList(ops, p.cur().val) {
		t := p.pop()
		var b expr
		b, err = sub()
		a = &binary{t.val, a, b, t.line}
	}
	return a, err
}

func (p *parser) math1() (expr, error) { return p.binary(p.concat, "+", "-") }

func (p *parser) concat() (expr, error) { return p.binary(p.math2, "~") }

func (p *parser) math2() (expr, error) { return p.binary(p.pow, "*", "/", "//", "%") }

func (p *parser) pow() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) unary(filter bool) (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var e expr
	var err error
	if t := p.cur(); p.isOp("-") || p.isOp("+") {
		p.i++
		if e, err = p.unary(false); err == nil {
			e = &signExpr{e, t.val == "-", t.line}
		}
	} else {
		e, err = p.primary()
	}
	if err != nil {
		return nil, err
	}
	if e, err = p.postfix(e); err != nil || !filter {
		return e, err
	}
	return p.filters(e, false)
}

func (p *parser) primary() (expr, error) {
	switch t := p.cur(); t.kind {
	case tName:
		p.i++
		switch t.val {
		case "true", "True":
			return &constant{true}, nil
		case "false", "False":
			return &constant{false}, nil
		case "none", "None":
			return &constant{nil}, nil
		}
		return &nameExpr{t.val}, nil
	case tString:
		s := p.pop().val
		if p.cur().kind == tString {
			var sb strings.Builder
			sb.WriteString(s)
			for p.cur().kind == tString {
				sb.WriteString(p.pop().val)
			}
			s = sb.String()
		}
		return &constant{s}, nil
	case tInt:
		p.i++
		i, err := strconv.ParseInt(t.val, 0, 64)
		if err != nil {
			if i, err = strconv.ParseInt(t.val, 10, 64); err != nil {
				return nil, syntax(t.line, "%s is too large", t.val)
			}
		}
		return &constant{i}, nil
	case tFloat:
		p.i++
		f, err := strconv.ParseFloat(t.val, 64)
		if err != nil {
			return nil, syntax(t.line, "%s is too large", t.val)
		}
		return &constant{f}, nil
	case tOp:
		switch t.val {
		case "(":
			p.i++
			if p.skipOp(")") {
				return &listExpr{nil, true}, nil
			}
			e, err := p.tuple(true, nil)
			if err != nil {
				return nil, err
			}
			return e, p.expectOp(")")
		case "[":
			p.i++
			return p.listRest()
		case "{":
			p.i++
			return p.dictRest()
		}
	}
	return nil, syntax(p.cur().line, "unexpected %v", p.cur())
}

// listRest parses a list after its bracket.
func (p *parser) listRest() (expr, error) {
	l := &listExpr{}
	for !p.skipOp("]") {
		if len(l.list) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.skipOp("]") {
				break
			}
		}
		e, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		l.list = append(l.list, e)
	}
	return l, nil
}

// dictRest parses a dictionary after its brace.
func (p *parser) dictRest() (expr, error) {
	d := &dictExpr{}
	for !p.skipOp("}") {
		if len(d.keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.skipOp("}") {
				break
			}
		}
		k, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		if err := p.expectOp(":"); err != nil {
			return nil, err
		}
		v, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, k), append(d.values, v)
	}
	return d, nil
}
