package jinja

import (
	"strconv"
)

func (p *parser) postfix(e expr) (expr, error) {
	for {
		var err error
		line := p.cur().line
		switch {
		case p.skipOp("."):
			t := p.pop()
			switch t.kind {
			case tName:
				e = &attrExpr{e, t.val, line}
			case tInt:
				i, _ := strconv.ParseInt(t.val, 10, 64)
				e = &itemExpr{e, &constant{i}, line}
			default:
				return nil, syntax(t.line, "expected name or number")
			}
		case p.skipOp("["):
			e, err = p.subscript(e, line)
		case p.isOp("("):
			e, err = p.callRest(e)
		default:
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) subscript(e expr, line int) (expr, error) {
	var part [3]expr
	colons := 0
	for !p.skipOp("]") {
		if p.skipOp(":") {
			if colons++; colons > 2 {
				return nil, p.fail("']'")
			}
			continue
		}
		if part[colons] != nil {
			return nil, p.fail("']'")
		}
		x, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		part[colons] = x
	}
	if colons > 0 {
		return &sliceExpr{e, part, line}, nil
	}
	if part[0] == nil {
		return nil, syntax(line, "expected subscript expression")
	}
	return &itemExpr{e, part[0], line}, nil
}

func (p *parser) callRest(f expr) (*call, error) {
	c := &call{f: f, line: p.cur().line}
	return c, p.arguments(&c.args)
}

func (p *parser) arguments(a *arguments) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for first := true; !p.skipOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return err
			}
			if p.skipOp(")") {
				return nil
			}
		}
		var err error
		switch {
		case p.skipOp("**"):
			a.kwargs, err = p.expr(true)
		case p.skipOp("*"):
			a.star, err = p.expr(true)
		case p.cur().kind == tName && p.look().kind == tOp && p.look().val == "=":
			n := p.pop().val
			p.i++
			var e expr
			e, err = p.expr(true)
			a.names, a.named = append(a.names, n), append(a.named, e)
		default:
			if len(a.names) > 0 || a.kwargs != nil {
				return syntax(p.cur().line, "invalid syntax for function call expression")
			}
			var e expr
			e, err = p.expr(true)
			a.pos = append(a.pos, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dotted parses a name with dots.
func (p *parser) dotted() (string, error) {
	n, err := p.name()
	for err == nil && p.isOp(".") {
		p.i++
		var m string
		if m, err = p.name(); len(n)+len(m) > 200 {
			return "", syntax(p.cur().line, "the name %.60s… is too long", n)
		}
		n += "." + m
	}
	return n, err
}

// filters parses |filter, `is test` and calls after e; start: the first filter has no bar before it.
func (p *parser) filters(e expr, start bool) (expr, error) {
	for {
		line := p.cur().line
		switch {
		case start || p.isOp("|"):
			if !start {
				p.i++
			}
			start = false
			n, err := p.dotted()
			if err != nil {
				return nil, err
			}
			f := &filterExpr{e: e, name: n, fn: filterTable[n], line: line}
			if f.fn == nil {
				return nil, &Error{Kind: "TemplateAssertionError", Message: "No filter named '" + n + "'.", Line: line}
			}
			if p.isOp("(") {
				if err := p.arguments(&f.args); err != nil {
					return nil, err
				}
			}
			e = f
		case p.isName("is"):
			p.i++
			t := &testExpr{e: e, negate: p.skipName("not"), line: line}
			n, err := p.dotted()
			if err != nil {
				return nil, err
			}
			if t.fn = testTable[n]; t.fn == nil {
				return nil, &Error{Kind: "TemplateAssertionError", Message: "No test named '" + n + "'.", Line: line}
			}
			c := p.cur()
			switch {
			case p.isOp("("):
				if err := p.arguments(&t.args); err != nil {
					return nil, err
				}
			case (c.kind == tName && !inList([]string{"else", "or", "and", "if", "in", "not", "recursive"}, c.val)) ||
				c.kind == tString || c.kind == tInt ||
				c.kind == tFloat || p.isOp("[") || p.isOp("{"):
				if c.kind == tName && c.val == "is" {
					return nil, syntax(line, "You cannot chain multiple tests with is")
				}
				a, err := p.primary()
				if err != nil {
					return nil, err
				}
				if a, err = p.postfix(a); err != nil {
					return nil, err
				}
				t.args.pos = []expr{a}
			}
			e = t
		case p.isOp("("):
			var err error
			if e, err = p.callRest(e); err != nil {
				return nil, err
			}
		default:
			return e, nil
		}
	}
}
