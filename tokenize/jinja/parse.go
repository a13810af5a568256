package jinja

import (
	"strconv"
	"strings"
)

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
			return nil, "", syntax(t.line, "Unexpected end of template. Jinja was looking for the following tags: '%s'", join(ends, "' or '"))
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

func inList(l []string, s string) bool {
	for _, x := range l {
		if x == s {
			return true
		}
	}
	return false
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

// tuple parses one expression, or several with commas between as a tuple.
func (p *parser) tuple(cond bool, ends []string) (expr, error) {
	var list []expr
	tuple := false
	for {
		if len(list) > 0 && (p.cur().kind == tBlockEnd || p.cur().kind == tVarEnd || p.isOp(")") || p.cur().kind == tName && inList(ends, p.cur().val)) {
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

func (p *parser) math1() (expr, error)  { return p.binary(p.concat, "+", "-") }
func (p *parser) concat() (expr, error) { return p.binary(p.math2, "~") }
func (p *parser) math2() (expr, error)  { return p.binary(p.pow, "*", "/", "//", "%") }
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
		case "{":
			p.i++
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
	}
	return nil, syntax(p.cur().line, "unexpected %v", p.cur())
}

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
			case (c.kind == tName && !inList([]string{"else", "or", "and", "if", "in", "not", "recursive"}, c.val)) || c.kind == tString || c.kind == tInt ||
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
