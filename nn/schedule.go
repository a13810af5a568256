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
	backward := func(i int) bool { return live[i] && b.values[b.steps[i].out].grad }
	inBlock := func(blk int) bool { return blk >= 0 && checkpoint[blk] }
	blockOf := func(r Ref) int {
		if f := b.values[r].from; f >= 0 {
			return b.steps[f].block
		}
		return -1
	}
	// A value of a checkpointed block that the backward of a step outside its block reads is kept from the forward.
	kept := make([]bool, len(b.values))
	for i, st := range b.steps {
		if !backward(i) {
			continue
		}
		for j, r := range st.in {
			if st.plan.ReadsIn != nil && st.plan.ReadsIn[j] && st.block != blockOf(r) {
				kept[r] = true
			}
		}
	}
	// What each checkpointed block must compute again: the closure of what its backwards read.
	again := make([]bool, len(b.steps))
	var need func(r Ref, blk int)
	need = func(r Ref, blk int) {
		f := b.values[r].from
		if f < 0 || b.steps[f].block != blk || kept[r] || again[f] {
			return
		}
		again[f] = true
		for _, in := range b.steps[f].in {
			need(in, blk)
		}
	}
	for i, st := range b.steps {
		if !backward(i) || !inBlock(st.block) {
			continue
		}
		for j, r := range st.in {
			if st.plan.ReadsIn != nil && st.plan.ReadsIn[j] {
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
	// outside marks steps whose output leaves their block.
	outside := make([]bool, len(b.steps))
	for i, st := range b.steps {
		for _, r := range st.in {
			if f := b.values[r].from; live[i] && f >= 0 && b.steps[f].block != st.block {
				outside[f] = true
			}
		}
	}
	// Cheap steps outside checkpointed blocks: every input is read by the step's own backward, so that it is there.
	lazy := make([]bool, len(b.steps))
	for i, st := range b.steps {
		if !cheap || !backward(i) || inBlock(st.block) || !st.plan.Cheap || st.plan.ReadsOut || st.plan.ReadsIn == nil {
			continue
		}
		ok := !outside[i]
		for j, r := range st.in {
			f := b.values[r].from
			ok = ok && (b.values[r].param != nil || st.plan.ReadsIn[j] && !(f >= 0 && lazy[f]))
		}
		lazy[i] = ok
	}
	gen := func(r Ref, reader int) uint8 {
		f := b.values[r].from
		if f < 0 {
			return 0
		}
		if lazy[f] {
			return 1
		}
		if again[f] && !kept[r] && b.steps[reader].block == b.steps[f].block {
			return 1
		}
		return 0
	}
	gens := func(i int) []uint8 {
		g := make([]uint8, len(b.steps[i].in))
		for j, r := range b.steps[i].in {
			g[j] = gen(r, i)
		}
		return g
	}
	done := make([]bool, len(b.steps)) // lazy steps already recomputed
	current := -1
	for i := len(b.steps) - 1; i >= 0; i-- {
		st := b.steps[i]
		if !backward(i) {
			continue
		}
		if inBlock(st.block) && st.block != current {
			current = st.block
			for k := 0; k <= i; k++ {
				if b.steps[k].block == current && again[k] {
					s.actions = append(s.actions, action{kind: actRecompute, step: k, gen: gens(k), out: 1})
					s.recompute++
				}
			}
		}
		for j, r := range st.in {
			f := b.values[r].from
			if st.plan.ReadsIn != nil && st.plan.ReadsIn[j] && f >= 0 && lazy[f] && !done[f] {
				done[f] = true
				s.actions = append(s.actions, action{kind: actRecompute, step: f, gen: gens(f), out: 1})
				s.recompute++
			}
		}
		out := uint8(0)
		if inBlock(st.block) && again[i] {
			out = 1
		}
		s.actions = append(s.actions, action{kind: actBackward, step: i, gen: gens(i), out: out})
	}
	return s
}
