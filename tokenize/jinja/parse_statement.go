package jinja

func (p *parser) blockEnd() error {
	if p.cur().kind != tBlockEnd {
		return p.fail("end of statement block")
	}
	p.i++
	return nil
}

// block parses a body up to end, with the end of its statement.
func (p *parser) block(end string) ([]stmt, error) {
	if err := p.blockEnd(); err != nil {
		return nil, err
	}
	b, _, err := p.body(end)
	if err != nil {
		return nil, err
	}
	return b, p.blockEnd()
}

// blockNamed is block up to endblock, which may repeat the name.
func (p *parser) blockNamed(name string) ([]stmt, error) {
	if err := p.blockEnd(); err != nil {
		return nil, err
	}
	b, _, err := p.body("endblock")
	if err != nil {
		return nil, err
	}
	p.skipName(name)
	return b, p.blockEnd()
}

func (p *parser) statement(name string, number int) (stmt, error) {
	at := line(number)
	switch name {
	case "for":
		return p.forStmt(at)
	case "if":
		return p.ifStmt(at)
	case "set":
		return p.setStmt(at)
	case "macro":
		n, err := p.name()
		if err != nil {
			return nil, err
		}
		m, err := p.macroRest(n, "endmacro")
		return &macroStmt{m, at}, err
	case "call":
		m := &macro{name: "caller"}
		if p.isOp("(") {
			if err := p.signature(m); err != nil {
				return nil, err
			}
		}
		e, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		c, ok := e.(*call)
		if !ok {
			return nil, syntax(number, "expected call")
		}
		loops := p.loops
		p.loops = 0
		m.body, err = p.block("endcall")
		p.loops = loops
		return &callStmt{c, m, at}, err
	case "filter":
		e, err := p.filters(&input{}, true)
		if err != nil {
			return nil, err
		}
		b, err := p.block("endfilter")
		return &filterStmt{e, b, at}, err
	case "with":
		w := &withStmt{line: at}
		for p.cur().kind != tBlockEnd {
			if len(w.targets) > 0 {
				if err := p.expectOp(","); err != nil {
					return nil, err
				}
			}
			t, err := p.target(false, nil)
			if err != nil {
				return nil, err
			}
			if err := p.expectOp("="); err != nil {
				return nil, err
			}
			v, err := p.expr(true)
			if err != nil {
				return nil, err
			}
			w.targets, w.values = append(w.targets, t), append(w.values, v)
		}
		b, err := p.block("endwith")
		w.body = b
		return w, err
	case "generation":
		loops := p.loops
		p.loops = 0
		b, err := p.block("endgeneration")
		p.loops = loops
		return &generation{b, at}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, syntax(number, "'%s' outside loop", name)
		}
		return &loopControl{name == "break", at}, p.blockEnd()
	case "block": // there is nothing to inherit from
		n, err := p.name()
		if err != nil {
			return nil, err
		}
		b, err := p.blockNamed(n)
		return &withStmt{body: b, line: at}, err
	case "include", "import", "from", "extends":
		return nil, syntax(number, "{%% %s %%} is refused: a chat template reads no other template", name)
	}
	return nil, syntax(number, "Encountered unknown tag '%s'.", name)
}

func (p *parser) forStmt(at line) (stmt, error) {
	f := &forStmt{line: at}
	var err error
	if f.target, err = p.target(false, []string{"in"}); err != nil {
		return nil, err
	}
	if !p.skipName("in") {
		return nil, p.fail("'in'")
	}
	if f.iter, err = p.tuple(false, []string{"recursive"}); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if f.cond, err = p.expr(true); err != nil {
			return nil, err
		}
	}
	f.recursive = p.skipName("recursive")
	if err := p.blockEnd(); err != nil {
		return nil, err
	}
	p.loops++
	body, end, err := p.body("endfor", "else")
	p.loops--
	if err != nil {
		return nil, err
	}
	f.body = body
	if end == "else" {
		if err := p.blockEnd(); err != nil {
			return nil, err
		}
		if f.empty, _, err = p.body("endfor"); err != nil {
			return nil, err
		}
	}
	return f, p.blockEnd()
}

func (p *parser) ifStmt(at line) (stmt, error) {
	s := &ifStmt{line: at}
	for {
		c, err := p.tuple(false, nil)
		if err != nil {
			return nil, err
		}
		if err := p.blockEnd(); err != nil {
			return nil, err
		}
		b, end, err := p.body("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.conds, s.bodies = append(s.conds, c), append(s.bodies, b)
		if end == "elif" {
			continue
		}
		if end == "else" {
			if err := p.blockEnd(); err != nil {
				return nil, err
			}
			if s.other, _, err = p.body("endif"); err != nil {
				return nil, err
			}
		}
		return s, p.blockEnd()
	}
}

func (p *parser) setStmt(at line) (stmt, error) {
	t, err := p.target(true, nil)
	if err != nil {
		return nil, err
	}
	s := &setStmt{target: t, line: at}
	if p.skipOp("=") {
		if s.value, err = p.tuple(true, nil); err != nil {
			return nil, err
		}
		return s, p.blockEnd()
	}
	if p.isOp("|") {
		if s.filter, err = p.filters(&input{}, false); err != nil {
			return nil, err
		}
	}
	s.body, err = p.block("endset")
	return s, err
}

// target parses what is assigned to: a name, a tuple of targets, or with attr an attribute of a namespace.
func (p *parser) target(attr bool, ends []string) (*target, error) {
	if attr && p.cur().kind == tName && p.look().kind == tOp && p.look().val == "." {
		n := p.pop().val
		p.i++
		a, err := p.name()
		return &target{name: n, attr: a}, err
	}
	var list []*target
	tuple := false
	for {
		var t *target
		switch {
		case p.isOp("("):
			if err := p.deeper(); err != nil {
				return nil, err
			}
			p.i++
			in, err := p.target(false, nil)
			if err != nil {
				return nil, err
			}
			p.depth--
			if err := p.expectOp(")"); err != nil {
				return nil, err
			}
			t = in
		case p.cur().kind == tName && !inList(ends, p.cur().val):
			n := p.pop().val
			switch n {
			case "true", "false", "none", "True", "False", "None", "loop", "not", "and", "or", "in", "is", "if", "else":
				if n != "loop" {
					return nil, syntax(p.cur().line, "can't assign to '%s'", n)
				}
			}
			t = &target{name: n}
		default:
			if tuple && len(list) > 0 {
				return &target{list: list}, nil
			}
			return nil, p.fail("a name to assign to")
		}
		list = append(list, t)
		if !p.skipOp(",") {
			break
		}
		tuple = true
	}
	if tuple {
		return &target{list: list}, nil
	}
	return list[0], nil
}

// signature parses (a, b=1).
func (p *parser) signature(m *macro) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.skipOp(")") {
		if len(m.args) > 0 {
			if err := p.expectOp(","); err != nil {
				return err
			}
			if p.skipOp(")") {
				return nil
			}
		}
		n, err := p.name()
		if err != nil {
			return err
		}
		var def expr
		if p.skipOp("=") {
			if def, err = p.expr(true); err != nil {
				return err
			}
		} else if len(m.defaults) > 0 && m.defaults[len(m.defaults)-1] != nil {
			return syntax(p.cur().line, "non-default argument follows default argument")
		}
		m.args, m.defaults = append(m.args, n), append(m.defaults, def)
	}
	return nil
}

func (p *parser) macroRest(name, end string) (*macro, error) {
	m := &macro{name: name}
	if err := p.signature(m); err != nil {
		return nil, err
	}
	loops, from := p.loops, p.i
	p.loops = 0
	b, err := p.block(end)
	p.loops = loops
	m.body = b
	for _, t := range p.t[from:p.i] {
		m.varargs = m.varargs || t.kind == tName && t.val == "varargs"
		m.kwargs = m.kwargs || t.kind == tName && t.val == "kwargs"
	}
	return m, err
}
