package nn

import (
	"errors"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// Options says how a program is compiled.
type Options struct {
	Mode        Mode
	Caps        Caps
	Pool        *pool.Pool // nil means one thread
	Cache       bool       // attention keeps a KV cache of Caps.C rows, in whole pages of kernels.CacheUnit, for generation
	CacheDType  DType      // of the KV cache: BFloat16 takes half the memory, and rounds keys and values
	Checkpoint  CheckpointMode
	MemoryLimit int64 // bytes for everything in Memory; 0 means none
	// Beside, where not nil, is what the limit must hold beside Memory: asked for when the parameters are known, for the optimiser's state.
	Beside func() int64
	DType  DType  // of what is kept for the backward pass
	Seed   uint64 // for dropout
	Dry    bool   // plan alone: the program has its Memory and cannot run, and takes none
	Poison bool   // fill the arena with NaN before every forward pass, to find reads of what was not written
}

// Program is a compiled model with its adapters. It runs one step at a time; it is not safe for concurrent use.
type Program struct {
	b       *Builder
	o       Options
	l       *layout
	memory  Memory
	works   []Work // one an action
	arena   *mem.Block
	buf     []float32
	scratch *mem.Block
	state   *mem.Block
	step    *Step
	ext     Caps
	train   bool

	text     Caps // what callers may hand over; o.Caps is what the program sees, with virtual rows
	prompt   Prompt
	expanded Step
	moved    []int32 // of each text row, its row in expanded
	virtual  []int32 // virtual rows of expanded
	rows     int     // wanted text rows of the step
	logp     []float32
	coef     []float32
	scoped   map[*Scope]*scopedStep
	wiring   Wiring
	probe    func(*step, *Work) // sees each op's output, nil for nobody
}

// Compile wires w with the adapters, finds or makes their parameters in params, and plans the memory.
// It fails when the program cannot hold o.MemoryLimit.
func Compile(w Wiring, adapters []Adapter, params *Params, o Options) (_ *Program, err error) {
	if t := max(o.Caps.T, o.Caps.S, o.Caps.N, o.Caps.C); t > math.MaxInt32 {
		return nil, fmt.Errorf("a pass of %d tokens is asked for, and %d are the most: lower batch_size or sequence_length",
			t, math.MaxInt32)
	}
	defer mem.Catch(&err, "lower batch_size or sequence_length, or set model.memory_limit, which has blocks computed again")
	b := newBuilder(params, adapters, o.Mode, o.Cache)
	text, prompt := o.Caps, PromptOf(adapters)
	b.cached = o.CacheDType
	o.Caps = prompt.grow(text, o.Mode, o.Cache)
	w.Wire(b)
	if !b.done {
		panic("nn: the wiring did not call Finish")
	}
	b.markHalf(o.DType)
	if o.Mode == ModeTrain && !b.values[b.out].grad {
		return nil, errors.New("nothing to train: no adapter took part in the program; check target_modules")
	}
	var fixed Memory
	scratch, state := 0, 0
	var held kernels.Held
	live := b.live()
	for i, st := range b.steps {
		if !live[i] { // such as the attention that a prefix takes the place of
			continue
		}
		if st.plan.Scratch != nil {
			scratch = max(scratch, st.plan.Scratch(o.Caps, o.Pool.Threads()))
		}
		if st.plan.Held != nil {
			held = held.Max(st.plan.Held(o.Caps))
		}
		for _, sh := range st.plan.State {
			state += sh.Len(o.Caps)
		}
	}
	for _, q := range params.list {
		fixed.Params += int64(len(q.Data)) * 4
		if o.Mode == ModeTrain && !q.Frozen {
			fixed.Grads += int64(len(q.Data)) * 4
		}
	}
	fixed.Scratch, fixed.Kernels, fixed.State = int64(scratch)*4, held.Total(), int64(state)*4
	if o.MemoryLimit > 0 && o.Beside != nil {
		if o.MemoryLimit -= o.Beside(); o.MemoryLimit <= 0 {
			o.MemoryLimit = 1 // no program is so small: the plan says what would fit
		}
	}
	l, m, err := b.plan(o, fixed)
	if err != nil {
		return nil, err
	}
	p := &Program{wiring: w, b: b, o: o, l: l, memory: m, text: text, prompt: prompt}
	if o.Dry {
		return p, nil
	}
	defer func() {
		if p.works == nil { // there was no room for all of them
			p.Close()
		}
	}()
	if o.Mode == ModeTrain {
		for _, q := range params.list {
			q.wantGrad()
		}
	}
	p.arena, p.scratch, p.state = mem.AllocFloat32(l.size), mem.AllocFloat32(scratch), mem.AllocFloat32(state)
	p.buf = p.arena.Float32()
	p.prepare()
	return p, nil
}

// prepare makes the Work of each action once, so that a step only cuts slices.
func (p *Program) prepare() {
	st := p.state.Float32()
	state := make([][][]float32, len(p.b.steps))
	live := p.b.live()
	for i, s := range p.b.steps {
		if !live[i] {
			continue
		}
		for _, sh := range s.plan.State {
			n := sh.Len(p.o.Caps)
			state[i] = append(state[i], st[:n:n])
			st = st[n:]
		}
	}
	p.works = make([]Work, len(p.l.actions))
	for at, a := range p.l.actions {
		s := &p.b.steps[a.step]
		p.works[at] = Work{Pool: p.o.Pool, Seed: p.o.Seed, Scratch: p.scratch.Float32(), State: state[a.step],
			In: make([][]float32, len(s.in)), DIn: make([][]float32, len(s.in)), Saved: make([][]float32, len(s.plan.Saved))}
	}
}

// Memory is what the program occupies.
func (p *Program) Memory() Memory { return p.memory }

// Caps are the capacities the program was planned for, without virtual rows.
func (p *Program) Caps() Caps { return p.text }

// Close frees the program's memory, not that of the parameters.
func (p *Program) Close() {
	p.arena.Free()
	p.scratch.Free()
	p.state.Free()
	p.works, p.buf = nil, nil
}

func (p *Program) at(i int, sh Shape) []float32 {
	off, n := p.l.buffers[i].offset, sh.Len(p.ext)
	return p.buf[off : off+n : off+n]
}

func (p *Program) bind(at int) *Work {
	a := &p.l.actions[at]
	st := &p.b.steps[a.step]
	w := &p.works[at]
	w.Step, w.Training = p.stepFor(st.scope), p.train
	back := a.kind == actBackward
	w.first = p.l.first[at]
	for j, r := range st.in {
		v := &p.b.values[r]
		w.In[j], w.DIn[j] = nil, nil
		if v.param != nil {
			w.In[j] = v.param.Data
			if back && st.want[j] {
				w.DIn[j] = v.param.Grad
			}
			continue
		}
		if !back || st.plan.ReadsIn != nil && st.plan.ReadsIn[j] {
			w.In[j] = p.at(p.l.inst[p.b.instance(&p.l.schedule, r, a.gen[j], at)], v.shape)
		}
		if back && st.want[j] {
			w.DIn[j] = p.at(p.l.grads[r], v.shape)
		}
	}
	out := p.b.values[st.out].shape
	w.Out = nil
	if !back || st.plan.ReadsOut {
		v := instance{ref: st.out, saved: -1, gen: a.out}
		if back {
			v = p.b.instance(&p.l.schedule, st.out, a.out, at)
		}
		w.Out = p.at(p.l.inst[v], out)
	}
	for k, sh := range st.plan.Saved {
		w.Saved[k] = p.at(p.l.inst[instance{ref: NoRef, step: a.step, saved: k, gen: a.out}], sh)
	}
	return w
}

// Forward runs the program on s and returns its output: log p of each label [S], or logits [S, V] in ModeLogits.
// The result is valid until the next call. training turns dropout on. In a training program whose adapter has labels of its own
// (Prompt.Labels), their weighted log p, in the order of the documents, follow those of the step.
func (p *Program) Forward(s *Step, training bool) []float32 {
	p.check(s)
	p.rows = len(s.Rows)
	if p.prompt.Positions() > 0 {
		s = p.expand(s)
	}
	p.step, p.train, p.ext = s, training, s.extents(p.o.Caps.C)
	for _, v := range p.scoped {
		v.step.Tokens = nil
	}
	p.scopes(s)
	if p.o.Poison {
		for i := range p.buf {
			p.buf[i] = float32(math.NaN())
		}
	}
	for at := 0; at < p.l.nForward; at++ {
		a := &p.l.actions[at]
		w := p.bind(at)
		p.b.steps[a.step].op.Forward(w)
		p.made(a, w.Out)
		if p.probe != nil {
			p.probe(&p.b.steps[a.step], w)
		}
	}
	out := p.at(p.l.inst[instance{ref: p.b.out, saved: -1}], p.b.values[p.b.out].shape)
	if p.ext.S > p.rows {
		return p.weighted(out, p.rows)
	}
	return out
}

// Backward adds the gradient of Σ coef[i]·log p[i] over the S labels of the last Forward into every parameter's Grad.
// The mean cross entropy over n labels has coef -1/n everywhere.
func (p *Program) Backward(coef []float32) {
	if p.o.Mode != ModeTrain {
		panic("nn: Backward of a program that was not compiled for training")
	}
	if len(coef) != p.ext.S {
		panic(fmt.Sprintf("nn: %d coefficients for %d labels", len(coef), p.ext.S))
	}
	if p.ext.S > p.rows {
		p.coef = append(p.coef[:0], coef...)
		p.weigh(p.coef, p.rows)
		coef = p.coef
	}
	for at := p.l.nForward; at < len(p.l.actions); at++ {
		a := &p.l.actions[at]
		st := &p.b.steps[a.step]
		for _, r := range p.l.zero[at] {
			clear(p.at(p.l.grads[r], p.b.values[r].shape))
		}
		p.widen(at)
		w := p.bind(at)
		if a.kind == actRecompute {
			st.op.Forward(w)
			p.made(a, w.Out)
			continue
		}
		if st.out == p.b.out {
			w.DOut = coef
		} else {
			w.DOut = p.at(p.l.grads[st.out], p.b.values[st.out].shape)
		}
		st.op.Backward(w)
		for _, r := range p.l.copy[at] {
			kernels.AddTo(p.o.Pool, p.at(p.l.grads[r], p.b.values[r].shape), w.DOut)
		}
	}
}

func (p *Program) check(s *Step) {
	e, c := s.extents(p.o.Caps.C), p.text
	if e.T > c.T || e.S > c.S || e.N > c.N || e.T == 0 {
		panic(fmt.Sprintf("nn: a step of %d tokens, %d labels, %d documents in a program for %d, %d, %d", e.T, e.S, e.N, c.T, c.S, c.N))
	}
	if s.Targets != nil && p.o.Mode != ModeTrain && s.Divergence == nil || s.Divergence != nil && p.o.Mode == ModeLogits {
		panic("nn: targets in a program that was not compiled for training")
	}
	if s.Scores && (s.Targets != nil || s.Stats != nil) {
		panic("nn: scores have no targets and no statistics")
	}
	if s.Temperature != 0 && (!(s.Temperature > 0) || s.Scores) {
		panic(fmt.Sprintf("nn: a temperature of %g", s.Temperature))
	}
	if s.Stats != nil && p.o.Mode == ModeLogits {
		panic("nn: statistics of rows in a program that gives their logits")
	}
	if len(s.Positions) != e.T || p.o.Mode != ModeLogits && len(s.Labels) != e.S {
		panic(fmt.Sprintf("nn: a step of %d tokens with %d positions; %d rows with %d labels", e.T, len(s.Positions), e.S, len(s.Labels)))
	}
}
