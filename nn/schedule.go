package nn

// The schedule of a program is the list of its actions in the order in which a step runs them: all forwards, then the
// backwards in reverse, with recomputations between them. A value has up to two instances: the forward one and, where
// it is recomputed for the backward pass, a second.

type actionKind uint8

const (
	actForward actionKind = iota
	actRecompute
	actBackward
)

type action struct {
	kind actionKind
	step int
	gen  []uint8 // instance of each input
	out  uint8   // instance of the output (and of what is saved, for a backward)
}

// instance is a value, or something an op saves, in one of its two lives.
type instance struct {
	ref   Ref   // the value, or NoRef
	step  int   // for something saved: its step
	saved int   // and its index, -1 for a value
	gen   uint8 // 0 forward, 1 recomputed
	late  bool  // expanded from bfloat16 for the backward pass
}

type schedule struct {
	actions   []action
	nForward  int
	recompute int    // recomputing actions
	split     []bool // values that wait for the backward pass as bfloat16
}

// live marks the steps whose output the program's result depends on.
func (b *Builder) live() []bool {
	live := make([]bool, len(b.steps))
	var mark func(r Ref)
	mark = func(r Ref) {
		s := b.values[r].from
		if s < 0 || live[s] {
			return
		}
		live[s] = true
		for _, in := range b.steps[s].in {
			mark(in)
		}
	}
	mark(b.out)
	return live
}

// schedule orders the program's actions. checkpoint says which blocks keep nothing but what leaves them; cheap allows
// single ops to be run again before the backward pass rather than keep their output.
func (b *Builder) schedule(live []bool, checkpoint []bool, cheap bool) schedule {
	var s schedule
	for i := range b.steps {
		if live[i] {
			s.actions = append(s.actions, action{kind: actForward, step: i, gen: make([]uint8, len(b.steps[i].in))})
		}
	}
	s.nForward = len(s.actions)
	if b.mode != ModeTrain {
		return s
	}
	o := &ordering{b: b, live: live, checkpoint: checkpoint}
	o.kept = o.readOutside()
	o.again = o.computedAgain()
	o.lazy = make([]bool, len(b.steps))
	if cheap {
		o.findLazy()
	}
	o.backwards(&s)
	return s
}

// ordering is what the backward part of a schedule is made of.
type ordering struct {
	b          *Builder
	live       []bool
	checkpoint []bool
	kept       []bool // by value: of a checkpointed block, and kept from the forward
	again      []bool // by step: computed again with its checkpointed block
	lazy       []bool // by step: a cheap one outside checkpointed blocks that is computed again where its output is read
}

// backward says whether the step has a backward action.
func (o *ordering) backward(i int) bool { return o.live[i] && o.b.values[o.b.steps[i].out].grad }

func (o *ordering) checkpointed(block int) bool { return block >= 0 && o.checkpoint[block] }

// reads says whether the backward of the step reads its input j.
func (s *step) reads(j int) bool { return s.plan.ReadsIn != nil && s.plan.ReadsIn[j] }

// readOutside marks the values that the backward of a step outside their block reads: a checkpointed block keeps them.
func (o *ordering) readOutside() []bool {
	kept := make([]bool, len(o.b.values))
	for i, st := range o.b.steps {
		if !o.backward(i) {
			continue
		}
		for j, r := range st.in {
			block := -1
			if f := o.b.values[r].from; f >= 0 {
				block = o.b.steps[f].block
			}
			if st.reads(j) && st.block != block {
				kept[r] = true
			}
		}
	}
	return kept
}

// computedAgain marks what each checkpointed block must compute again: the closure of what its backwards read.
func (o *ordering) computedAgain() []bool {
	b, again := o.b, make([]bool, len(o.b.steps))
	var need func(r Ref, block int)
	need = func(r Ref, block int) {
		f := b.values[r].from
		if f < 0 || b.steps[f].block != block || o.kept[r] || again[f] {
			return
		}
		again[f] = true
		for _, in := range b.steps[f].in {
			need(in, block)
		}
	}
	for i, st := range b.steps {
		if !o.backward(i) || !o.checkpointed(st.block) {
			continue
		}
		for j, r := range st.in {
			if st.reads(j) {
				need(r, st.block)
			}
		}
		if st.plan.ReadsOut {
			need(st.out, st.block)
		}
		if len(st.plan.Saved) > 0 && !again[i] {
			again[i] = true
			for _, in := range st.in {
				need(in, st.block)
			}
		}
	}
	return again
}

// findLazy marks cheap steps outside checkpointed blocks whose every input is read by the step's own backward, so that it is there.
func (o *ordering) findLazy() {
	b := o.b
	outside := make([]bool, len(b.steps)) // steps whose output leaves their block
	for i, st := range b.steps {
		for _, r := range st.in {
			if f := b.values[r].from; o.live[i] && f >= 0 && b.steps[f].block != st.block {
				outside[f] = true
			}
		}
	}
	for i, st := range b.steps {
		if !o.backward(i) || o.checkpointed(st.block) || !st.plan.Cheap || st.plan.ReadsOut || st.plan.ReadsIn == nil {
			continue
		}
		ok := !outside[i]
		for j, r := range st.in {
			f := b.values[r].from
			ok = ok && (b.values[r].param != nil || st.plan.ReadsIn[j] && !(f >= 0 && o.lazy[f]))
		}
		o.lazy[i] = ok
	}
}

// gens are the instances of a step's inputs that an action of the backward pass reads.
func (o *ordering) gens(i int) []uint8 {
	b := o.b
	g := make([]uint8, len(b.steps[i].in))
	for j, r := range b.steps[i].in {
		f := b.values[r].from
		if f >= 0 && (o.lazy[f] || o.again[f] && !o.kept[r] && b.steps[i].block == b.steps[f].block) {
			g[j] = 1
		}
	}
	return g
}

// backwards appends the backward actions, each after what it reads is computed again.
func (o *ordering) backwards(s *schedule) {
	b := o.b
	recompute := func(k int) {
		s.actions = append(s.actions, action{kind: actRecompute, step: k, gen: o.gens(k), out: 1})
		s.recompute++
	}
	done := make([]bool, len(b.steps)) // lazy steps already computed again
	current := -1
	for i := len(b.steps) - 1; i >= 0; i-- {
		st := &b.steps[i]
		if !o.backward(i) {
			continue
		}
		if o.checkpointed(st.block) && st.block != current {
			current = st.block
			for k := 0; k <= i; k++ {
				if b.steps[k].block == current && o.again[k] {
					recompute(k)
				}
			}
		}
		for j, r := range st.in {
			if f := b.values[r].from; st.reads(j) && f >= 0 && o.lazy[f] && !done[f] {
				done[f] = true
				recompute(f)
			}
		}
		out := uint8(0)
		if o.checkpointed(st.block) && o.again[i] {
			out = 1
		}
		s.actions = append(s.actions, action{kind: actBackward, step: i, gen: o.gens(i), out: out})
	}
}
