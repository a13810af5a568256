package nn

import "github.com/adaptflow/adaptflow/kernels"

// Shares says whether rows of the KV cache mean the same in each sequence that begins with the same tokens. Where keys are turned by the
// length that a sequence had when they came, they do not.
func (p *Program) Shares() bool {
	for _, s := range p.b.steps {
		switch s.op.(type) {
		case *DynamicRope, *LongRope:
			return false
		}
	}
	return true
}

// CopyCache copies rows of the KV cache of every attention, n from row from on to row to on. They must not overlap, and no step may run.
func (p *Program) CopyCache(to, from, n int) {
	seen := map[int]bool{}
	for at, a := range p.l.actions {
		op, ok := p.b.steps[a.step].op.(*Attention)
		if !ok || !op.cache || seen[a.step] {
			continue
		}
		seen[a.step] = true
		op.Attn.CopyCache(op.held(&p.works[at]), to, from, n)
	}
}

// held is the cache of an attention, nil without one.
func (a *Attention) held(w *Work) *kernels.KVCache {
	switch {
	case a.cache && a.half:
		return &kernels.KVCache{KHalf: kernels.Halves(w.State[0]), VHalf: kernels.Halves(w.State[1])}
	case a.cache:
		return &kernels.KVCache{K: w.State[0], V: w.State[1]}
	}
	return nil
}
