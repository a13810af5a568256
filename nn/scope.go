package nn

// Scope is one of several adapters that a program carries. Its parameters are its own, and its ops see the step's segments as it maps them:
// so any adapter that can be segmented is switched on and off, and mixed with others in one batch, without another program.
type Scope struct {
	// Name begins the names of its parameters, "NAME:".
	Name string
	// Slot maps the slot of a segment to one of the scope's own bank, -1 where the scope takes no part. Slot -1, the base, is never asked
	// for. It may change between steps.
	Slot func(slot int) int
}

// Scoped runs f, which wires an adapter, inside s.
func (b *Builder) Scoped(s *Scope, f func() Ref) Ref {
	if b.scope != nil {
		panic("nn: a scope inside a scope")
	}
	b.scope = s
	defer func() { b.scope = nil }()
	return f()
}

// paramName is the name of a parameter inside the scope that is open.
func (b *Builder) paramName(name string) string {
	if b.scope == nil {
		return name
	}
	return b.scope.Name + ":" + name
}

// scopedStep is the step as the ops of one scope see it.
type scopedStep struct {
	step     Step
	segments []Segment
}

// scopes maps the step for every scope of the program.
func (p *Program) scopes(s *Step) {
	for _, st := range p.b.steps {
		if st.scope == nil {
			continue
		}
		v := p.scoped[st.scope]
		if v == nil {
			if p.scoped == nil {
				p.scoped = map[*Scope]*scopedStep{}
			}
			v = &scopedStep{}
			p.scoped[st.scope] = v
		}
		if v.step.Tokens != nil { // done for this step
			continue
		}
		v.segments = v.segments[:0]
		whole := Segment{End: len(s.Tokens)}
		for i := range max(1, len(s.Segments)) {
			g := whole
			if s.Segments != nil {
				if len(s.Segments) == 0 {
					break
				}
				g = s.Segments[i]
			}
			if g.Slot >= 0 {
				g.Slot = st.scope.Slot(g.Slot)
			}
			v.segments = append(v.segments, g)
		}
		v.step = *s
		v.step.Segments = v.segments
	}
}

// stepFor is the step that the ops of a scope see; nil is the program's own.
func (p *Program) stepFor(s *Scope) *Step {
	if s == nil {
		return p.step
	}
	return &p.scoped[s].step
}
