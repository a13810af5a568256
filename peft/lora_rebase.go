package peft

import (
	"fmt"
	"sync"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// rebase is what starting values make of the base's weight: W loses them, so that at the start the sum is W.
type rebase struct {
	w     quant.Weight // as the base stores it
	to    quant.Weight // in its place
	scale float32
	r     int

	once sync.Once
	// of W [out, in]: A [r, in], B [out, r], and the weight itself where it is more than W - scale·B·A
	find func(w []float32) (a, b, changed []float32)
	a, b []float32
	full []float32
}

// rebased makes p start at the values of find, and its module's weight lose them.
func (l *lora) rebased(p *pair, s nn.Site, quantised bool, find func(w []float32) (a, b, changed []float32)) error {
	rb := &rebase{scale: float32(p.scale), r: p.r, find: find}
	if s.Kind == nn.KindHead && l.tied {
		return fmt.Errorf("peft: LORA: init_lora_weights %q changes the weight of %s, which is the embedding's too "+
			"(tie_word_embeddings); leave it out of target_modules",
			l.cfg.InitLoraWeights.Name, s.Name)
	}
	lay, _ := layoutOf(s.Op)
	rb.w = lay.W
	if out, in := rb.w.Dims(); p.r > min(out, in) {
		return fmt.Errorf("peft: LORA: init_lora_weights %q: the rank %d is above the smaller side of %s, [%d, %d]",
			l.cfg.InitLoraWeights.Name, p.r, s.Name, out, in)
	}
	if quant.Quantised(rb.w) && (!quantised || quant.InBlocks(rb.w)) {
		return fmt.Errorf("peft: LORA: init_lora_weights %q needs a base of floating-point weights, but %s is quantised: train on the "+
			"original weights, "+
			"or quantise the base that the adapter has changed", l.cfg.InitLoraWeights.Name, s.Name)
	}
	rb.to = quant.NewChanged(rb.w, func() []float32 {
		w := rb.dense()
		rb.solve(w)
		rb.take(w, false)
		return w
	})
	p.base = rb
	p.a.Init = func(d []float32) { copy(d, rb.start().a) }
	p.b.Init = func(d []float32) { copy(d, rb.start().b) }
	return nil
}

func (rb *rebase) dense() []float32 {
	out, in := rb.w.Dims()
	w := make([]float32, out*in)
	rb.w.Dense(w)
	return w
}

func (rb *rebase) solve(w []float32) {
	rb.once.Do(func() {
		rb.a, rb.b, rb.full = rb.find(w)
		rb.find = nil
	})
}

// start has the starting values.
func (rb *rebase) start() *rebase {
	if rb.a == nil {
		rb.solve(rb.dense())
	}
	return rb
}

// take makes of W, [out, in] or transposed, the changed weight.
func (rb *rebase) take(w []float32, transposed bool) {
	out, in := rb.w.Dims()
	switch {
	case rb.full != nil && transposed:
		copy(w, transpose(rb.full, out, in))
	case rb.full != nil:
		copy(w, rb.full)
	case transposed:
		kernels.Gemm(nil, in, out, rb.r, -rb.scale, rb.a, 1, in, rb.b, 1, rb.r, 1, w, out)
	default:
		kernels.Gemm(nil, out, in, rb.r, -rb.scale, rb.b, rb.r, 1, rb.a, in, 1, 1, w, in)
	}
}

// merge is take for the weights of a merge.
func (rb *rebase) merge(w []float32, transposed bool) {
	rb.start()
	rb.take(w, transposed)
}

// apply replaces the weight of the site's op.
func (rb *rebase) apply(b *nn.Builder, s nn.Site) nn.Site {
	s.Op = s.Op.(nn.Matrix).WithWeight(rb.to)
	s.Out = b.Apply(s.Op, s.In...)
	return s
}
