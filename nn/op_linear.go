package nn

import (
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

// Linear is y = x·Wᵀ + b, [T, In] to [T, Out]. The inputs are x, then the weight when TrainW, then the bias [1, Out] when
// TrainBias. A trainable weight is [Out, In], or [In, Out] when Transposed, as the base model's file stores it
// (Conv1D of GPT-2; LoRA's fan_in_fan_out). A frozen W is [Out, In] in meaning in both cases. Of LLM.int8 training's forward pass is
// bitsandbytes', in which the rows of a step have a part in each other; every other mode holds to the contract of bits (quant.ForwardRows).
type Linear struct {
	W          quant.Weight // [Out, In]
	Bias       []float32    // [Out], nil for none
	In, Out    int
	TrainW     bool
	TrainBias  bool
	Transposed bool

	train bool
}

func (l *Linear) setMode(b *Builder) { l.train = b.mode == ModeTrain }

// Plan implements Op.
func (l *Linear) Plan(in []Shape, want []bool) Plan {
	p := Plan{Out: Shape{Rows: in[0].Rows, Count: in[0].Count, Cols: l.Out}, ReadsIn: make([]bool, len(in)), Sets: make([]bool, len(in))}
	p.Sets[0] = true
	if l.TrainW {
		p.ReadsIn[0], p.ReadsIn[1] = want[1], want[0]
	} else {
		p.Scratch = func(c Caps, _ int) int { return quant.ForwardScratch(l.W, in[0].At(c)) }
		p.Held = func(c Caps) kernels.Held { return quant.Held(l.W, in[0].At(c), l.Out) }
	}
	return p
}

// weight returns the strides of a trainable weight: w[o·so + i·si].
func (l *Linear) strides() (so, si int) {
	if l.Transposed {
		return 1, l.Out
	}
	return l.In, 1
}

// Forward implements Op.
func (l *Linear) Forward(w *Work) {
	m := len(w.Out) / l.Out
	bias := l.Bias
	if l.TrainBias {
		bias = w.In[len(w.In)-1]
	}
	if l.TrainW {
		so, si := l.strides()
		kernels.Gemm(w.Pool, m, l.Out, l.In, 1, w.In[0], l.In, 1, w.In[1], si, so, 0, w.Out, l.Out)
	} else if l.train {
		quant.Forward(w.Pool, l.W, m, w.In[0], w.Out, w.Scratch)
	} else {
		quant.ForwardRows(w.Pool, l.W, m, w.In[0], w.Out, w.Scratch)
	}
	if bias != nil {
		kernels.AddBias(w.Pool, w.Out, m, l.Out, bias)
	}
}

// Backward implements Op.
func (l *Linear) Backward(w *Work) {
	m := len(w.DOut) / l.Out
	if w.DIn[0] != nil {
		if l.TrainW {
			so, si := l.strides()
			kernels.Gemm(w.Pool, m, l.In, l.Out, 1, w.DOut, l.Out, 1, w.In[1], so, si, w.Beta(0), w.DIn[0], l.In)
		} else {
			quant.Mul(w.Pool, l.W, m, w.DOut, w.Beta(0), w.DIn[0], w.Scratch)
		}
	}
	if l.TrainW && w.DIn[1] != nil {
		if l.Transposed { // dW [In, Out] = xᵀ·dy
			kernels.Gemm(w.Pool, l.In, l.Out, m, 1, w.In[0], 1, l.In, w.DOut, l.Out, 1, 1, w.DIn[1], l.Out)
		} else { // dW [Out, In] = dyᵀ·x
			kernels.Gemm(w.Pool, l.Out, l.In, m, 1, w.DOut, 1, l.Out, w.In[0], l.In, 1, 1, w.DIn[1], l.In)
		}
	}
	if l.TrainBias && w.DIn[len(w.In)-1] != nil {
		kernels.ColSum(w.Pool, w.DIn[len(w.In)-1], w.DOut, m, l.Out)
	}
}
