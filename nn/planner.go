package nn

import (
	"fmt"
	"sort"
)

// CheckpointMode says how much of the activations is computed again in the backward pass.
type CheckpointMode uint8

// The checkpoint modes.
const (
	CheckpointAuto CheckpointMode = iota // as few blocks as hold the memory limit
	CheckpointNone
	CheckpointAll
)

// Memory is what a compiled program occupies, in bytes, beside the frozen weights.
type Memory struct {
	Arena        int64 // activations, gradients of activations, saved statistics
	Scratch      int64
	Kernels      int64 // what kernels keep for their largest calls
	State        int64 // KV cache
	Params       int64 // trainable parameters
	Grads        int64 // and their gradients
	Checkpointed int   // blocks that are computed again in the backward pass
	Blocks       int
}

// Total is the sum in bytes.
func (m Memory) Total() int64 { return m.Arena + m.Scratch + m.Kernels + m.State + m.Params + m.Grads }

type buffer struct {
	size       int // float32 values at capacity
	start, end int // first and last action that touches it
	offset     int
	grad       bool
}

// layout holds the arena's buffers and which of them each instance and gradient uses.
type layout struct {
	schedule
	buffers []buffer
	inst    map[instance]int
	narrow  map[Ref]int // bfloat16 copies that wait for the backward pass
	grads   map[Ref]int
	zero    [][]Ref      // gradients to set to zero before each action
	first   [][]bool     // inputs whose gradient each action is the first to write, without reading: nil for none
	copy    [][]Ref      // gradients of pass-through inputs to add after each backward action
	widen   [][]instance // values to expand from their bfloat16 copies before each action
	size    int
}

func (l *layout) buffer(size, at int) int {
	l.buffers = append(l.buffers, buffer{size: size, start: at, end: at})
	return len(l.buffers) - 1
}

func (l *layout) touch(i, at int) {
	l.buffers[i].end = max(l.buffers[i].end, at)
}

// lives follows the actions of a schedule and finds from when to when each buffer is in use.
type lives struct {
	*layout
	b     *Builder
	caps  Caps
	split []bool           // values that wait for the backward pass as bfloat16
	last  map[instance]int // the last reading of each, to know when an op may work in place
	uses  []int            // live readers of each value
}

// lay finds the life of every buffer of a schedule and gives each a place.
func (b *Builder) lay(s schedule, live []bool, caps Caps) *layout {
	l := &layout{schedule: s, inst: map[instance]int{}, narrow: map[Ref]int{}, grads: map[Ref]int{},
		zero: make([][]Ref, len(s.actions)), first: make([][]bool, len(s.actions)), copy: make([][]Ref, len(s.actions)),
		widen: make([][]instance, len(s.actions))}
	v := &lives{layout: l, b: b, caps: caps, split: b.split(&l.schedule), last: map[instance]int{}, uses: make([]int, len(b.values))}
	b.eachRead(&l.schedule, func(r Ref, gen uint8, at int) { v.last[v.valueOf(r, gen, at)] = at })
	v.last[v.valueOf(b.out, 0, 0)] = len(s.actions)
	for i := range b.steps {
		if live[i] {
			for _, r := range b.steps[i].in {
				v.uses[r]++
			}
		}
	}
	for at, a := range s.actions {
		if a.kind == actBackward {
			v.backward(at, a)
		} else {
			v.forward(at, a)
		}
	}
	if i, ok := l.inst[v.valueOf(b.out, 0, 0)]; ok {
		l.touch(i, len(s.actions))
	}
	l.place()
	return l
}

func (l *lives) valueOf(r Ref, gen uint8, at int) instance {
	return l.b.instance(&l.schedule, r, gen, at)
}

// values is the number of values of r at capacity.
func (l *lives) values(r Ref) int { return l.b.values[r].shape.Len(l.caps) }

// read extends the life of an instance to the action at. The first action of the backward pass that reads a value kept as
// bfloat16 has it expanded first.
func (l *lives) read(r Ref, gen uint8, at int) instance {
	v := l.valueOf(r, gen, at)
	if _, ok := l.inst[v]; !ok && v.late {
		l.inst[v] = l.buffer(l.values(r), at)
		l.touch(l.narrow[r], at)
		l.widen[at] = append(l.widen[at], v)
	}
	l.touch(l.inst[v], at)
	return v
}

// forward is an action that makes a value and what its op saves.
func (l *lives) forward(at int, a action) {
	b := l.b
	st := &b.steps[a.step]
	in := l.valueOf(st.out, a.out, at)
	in.late = false // it is made here
	where := -1
	for j, r := range st.in {
		if b.values[r].param != nil {
			continue
		}
		v := l.read(r, a.gen[j], at)
		if where < 0 && st.plan.InPlace != nil && st.plan.InPlace[j] && l.last[v] == at && b.values[r].shape == b.values[st.out].shape {
			where = l.inst[v]
		}
	}
	if where < 0 {
		where = l.buffer(l.values(st.out), at)
	}
	l.inst[in] = where
	if l.split[st.out] && a.out == 0 {
		l.narrow[st.out] = l.buffer((l.values(st.out)+1)/2, at)
	}
	for k, sh := range st.plan.Saved {
		v := instance{ref: NoRef, step: a.step, saved: k, gen: a.out}
		if _, ok := l.inst[v]; !ok {
			l.inst[v] = l.buffer(sh.Len(l.caps), at)
		}
		l.touch(l.inst[v], at)
	}
}

// backward is an action that reads values and makes gradients.
func (l *lives) backward(at int, a action) {
	b := l.b
	st := &b.steps[a.step]
	for j, r := range st.in {
		if b.values[r].param == nil && st.reads(j) {
			l.read(r, a.gen[j], at)
		}
	}
	if st.plan.ReadsOut {
		l.read(st.out, a.out, at)
	}
	for k := range st.plan.Saved {
		l.touch(l.inst[instance{ref: NoRef, step: a.step, saved: k, gen: a.out}], at)
	}
	out, haveOut := l.grads[st.out]
	if haveOut {
		l.touch(out, at)
	}
	for j, r := range st.in {
		if !st.want[j] || b.values[r].param != nil {
			continue
		}
		pass := st.plan.Pass != nil && st.plan.Pass[j]
		if pass && l.uses[r] == 1 && haveOut {
			l.grads[r] = out
			continue
		}
		if _, ok := l.grads[r]; !ok {
			l.gradient(r, j, at, st)
		}
		l.touch(l.grads[r], at)
		if pass {
			l.copy[at] = append(l.copy[at], r)
		}
	}
}

// gradient makes the gradient of input j, of the value r, whose first action is at.
func (l *lives) gradient(r Ref, j, at int, st *step) {
	l.grads[r] = l.buffer(l.values(r), at)
	l.buffers[l.grads[r]].grad = true
	if !st.sets(j) {
		l.zero[at] = append(l.zero[at], r)
		return
	}
	if l.first[at] == nil {
		l.first[at] = make([]bool, len(st.in))
	}
	l.first[at][j] = true
}

// place gives each buffer the lowest offset that no buffer of an overlapping life occupies, large buffers first.
func (l *layout) place() {
	const align = 32 // 128 bytes
	order := make([]int, len(l.buffers))
	for i := range order {
		order[i] = i
		l.buffers[i].size = (l.buffers[i].size + align - 1) &^ (align - 1)
	}
	sort.SliceStable(order, func(x, y int) bool { return l.buffers[order[x]].size > l.buffers[order[y]].size })
	var placed []int // by offset
	for _, i := range order {
		p := &l.buffers[i]
		at := 0
		for _, k := range placed {
			q := &l.buffers[k]
			if q.end < p.start || p.end < q.start {
				continue
			}
			if at+p.size <= q.offset {
				break
			}
			at = max(at, q.offset+q.size)
		}
		p.offset = at
		l.size = max(l.size, at+p.size)
		k := sort.Search(len(placed), func(k int) bool { return l.buffers[placed[k]].offset > at })
		placed = append(placed, 0)
		copy(placed[k+1:], placed[k:])
		placed[k] = i
	}
}

// plan chooses how much to compute again and lays out the arena. limit is in bytes for everything in Memory, 0 for none.
func (b *Builder) plan(o Options, fixed Memory) (*layout, Memory, error) {
	live := b.live()
	try := func(blocks int) (*layout, Memory) {
		ck := make([]bool, b.blocks)
		for i := range min(blocks, b.blocks) {
			ck[i] = true
		}
		l := b.lay(b.schedule(live, ck, true), live, o.Caps)
		m := fixed
		m.Arena = int64(l.size) * 4
		m.Checkpointed, m.Blocks = min(blocks, b.blocks), b.blocks
		return l, m
	}
	start := 0
	if o.Checkpoint == CheckpointAll && o.Mode == ModeTrain {
		start = b.blocks
	}
	l, m := try(start)
	if o.MemoryLimit <= 0 || m.Total() <= o.MemoryLimit {
		return l, m, nil
	}
	if o.Checkpoint == CheckpointAuto && o.Mode == ModeTrain && b.blocks > 0 {
		all, ma := try(b.blocks)
		if ma.Total() <= o.MemoryLimit {
			// The fewest blocks that fit; memory falls as blocks are added.
			k := 1 + sort.Search(b.blocks-1, func(k int) bool { _, m := try(k + 1); return m.Total() <= o.MemoryLimit })
			if k < b.blocks {
				all, ma = try(k)
			}
			return all, ma, nil
		}
		m = ma
	}
	return nil, m, fmt.Errorf("the memory limit leaves %d MiB for the program, but it needs %d MiB with %d of %d blocks checkpointed: "+
		"lower batch_size or sequence_length, or raise memory_limit by at least %d MiB",
		o.MemoryLimit>>20, m.Total()>>20, m.Checkpointed, m.Blocks, (m.Total()-o.MemoryLimit)>>20+1)
}
