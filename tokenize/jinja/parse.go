package jinja

type parser struct {
	t     []token
	i     int
	depth int
	loops int // for bodies around this place, in this macro
}

func (p *parser) cur() token  { return p.t[p.i] }
func (p *parser) look() token { return p.t[min(p.i+1, len(p.t)-1)] }

func (p *parser) pop() token {
	t := p.t[p.i]
	if t.kind != tEOF {
		p.i++
	}
	return t
}

func (p *parser) isOp(v string) bool   { return p.cur().kind == tOp && p.cur().val == v }
func (p *parser) isName(v string) bool { return p.cur().kind == tName && p.cur().val == v }

func (p *parser) skipOp(v string) bool {
	if p.isOp(v) {
		p.i++
		return true
	}
	return false
}

func (p *parser) skipName(v string) bool {
	if p.isName(v) {
		p.i++
		return true
	}
	return false
}

func (p *parser) fail(want string) error {
	return syntax(p.cur().line, "expected %s, got %v", want, p.cur())
}

func (p *parser) expectOp(v string) error {
	if !p.skipOp(v) {
		return p.fail("'" + v + "'")
	}
	return nil
}

func (p *parser) name() (string, error) {
	if p.cur().kind != tName {
		return "", p.fail("a name")
	}
	return p.pop().val, nil
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return syntax(p.cur().line, "the template nests deeper than %d", maxDepth)
	}
	return nil
}

// body parses until a statement whose name is one of ends, which is taken with its name.
func (p *parser) body(ends ...string) ([]stmt, string, error) {
	if err := p.deeper(); err != nil {
		return nil, "", err
	}
	defer func() { p.depth-- }()
	var out []stmt
	for {
		switch t := p.pop(); t.kind {
		case tData:
			out = append(out, &output{text: t.val, line: line(t.line)})
		case tVarBegin:
			e, err := p.tuple(true, nil)
			if err != nil {
				return nil, "", err
			}
			if p.pop().kind != tVarEnd {
				p.i--
				return nil, "", p.fail("end of print statement")
			}
			out = append(out, &output{e: e, line: line(t.line)})
		case tBlockBegin:
			n, err := p.name()
			if err != nil {
				return nil, "", err
			}
			for _, e := range ends {
				if e == n {
					return out, n, nil
				}
			}
			s, err := p.statement(n, t.line)
			if err != nil {
				return nil, "", err
			}
			out = append(out, s)
		case tEOF:
			if len(ends) == 0 {
				return out, "", nil
			}
			return nil, "", syntax(t.line, "Unexpected end of template. Jinja was looking for the following tags: '%s'",
				join(ends, "' or '"))
		default:
			return nil, "", syntax(t.line, "unexpected %v", t)
		}
	}
}

func join(l []string, sep string) (s string) {
	for i, x := range l {
		if i > 0 {
			s += sep
		}
		s += x
	}
	return s
}

func inList(l []string, s string) bool {
	for _, x := range l {
		if x == s {
			return true
		}
	}
	return false
}
