package nn

import (
	"unsafe"

	"github.com/adaptflow/adaptflow/kernels"
)

// DType is the storage of the values that a program keeps for its backward pass.
type DType uint8

// The storage types of a program's values.
const (
	Float32 DType = iota
	// BFloat16 rounds what a backward pass reads to bfloat16, once, when it is made, and keeps it in two bytes until then. Forward and
	// backward read the same rounded values, so that checkpointing and recomputation change no bit. The residual stream (Plan.Wide),
	// statistics, parameters, gradients and the optimiser stay float32.
	BFloat16
)

// String is torch's name of the type.
func (d DType) String() string {
	if d == BFloat16 {
		return "bfloat16"
	}
	return "float32"
}

// markHalf finds the values that the program rounds to bfloat16: those that some backward pass reads, but for the residual stream. It
// depends on the wiring alone, not on what is computed again, so that all memory limits give the same bits.
func (b *Builder) markHalf(d DType) {
	b.half = make([]bool, len(b.values))
	if d != BFloat16 || b.mode != ModeTrain {
		return
	}
	mark := func(r Ref) {
		if f := b.values[r].from; f >= 0 && !b.steps[f].plan.Wide {
			b.half[r] = true
		}
	}
	for _, st := range b.steps {
		if !b.values[st.out].grad {
			continue
		}
		for j, r := range st.in {
			if st.plan.ReadsIn != nil && st.plan.ReadsIn[j] {
				mark(r)
			}
		}
		if st.plan.ReadsOut {
			mark(st.out)
		}
	}
	b.half[b.out] = false
}

// eachRead calls f for each value that an action reads: the value, its generation and the action's index.
func (b *Builder) eachRead(s *schedule, f func(r Ref, gen uint8, at int)) {
	for at, a := range s.actions {
		st := &b.steps[a.step]
		for j, r := range st.in {
			if b.values[r].param == nil && (a.kind != actBackward || st.plan.ReadsIn != nil && st.plan.ReadsIn[j]) {
				f(r, a.gen[j], at)
			}
		}
		if a.kind == actBackward && st.plan.ReadsOut {
			f(st.out, a.out, at)
		}
	}
}

// split marks the values made in the forward pass that wait for the backward pass as bfloat16.
func (b *Builder) split(s *schedule) []bool {
	s.split = make([]bool, len(b.values))
	b.eachRead(s, func(r Ref, gen uint8, at int) {
		if gen == 0 && at >= s.nForward && b.half[r] {
			s.split[r] = true
		}
	})
	return s.split
}

// instance is the life of a value that an action at reads.
func (b *Builder) instance(s *schedule, r Ref, gen uint8, at int) instance {
	return instance{ref: r, saved: -1, gen: gen, late: gen == 0 && at >= s.nForward && s.split[r]}
}

// narrow is the bfloat16 copy of a value that waits for the backward pass.
func (p *Program) narrow(r Ref) []uint16 {
	n := p.b.values[r].shape.Len(p.ext)
	if n == 0 {
		return nil
	}
	f := p.buf[p.l.buffers[p.l.narrow[r]].offset:]
	return unsafe.Slice((*uint16)(unsafe.Pointer(&f[0])), n)
}

// made rounds what action a has just made, and keeps its copy.
func (p *Program) made(a *action, out []float32) {
	r := p.b.steps[a.step].out
	switch {
	case !p.b.half[r]:
	case a.out == 0 && p.l.split[r]:
		kernels.PackBF16(p.o.Pool, p.narrow(r), out)
	default:
		kernels.RoundBF16(p.o.Pool, out)
	}
}

// widen expands the copies that action at is the first to read.
func (p *Program) widen(at int) {
	for _, v := range p.l.widen[at] {
		kernels.UnpackBF16(p.o.Pool, p.at(p.l.inst[v], p.b.values[v.ref].shape), p.narrow(v.ref))
	}
}
