package nn

import "github.com/adaptflow/adaptflow/kernels"

// RMSNorm is y = x·rsqrt(mean(x²)+Eps)·W, row by row (Zhang and Sennrich 2019); with AddOne the factor is 1+W (Gemma).
// With TrainW the weight is input 1, [1, D].
type RMSNorm struct {
	W      []float32 // [D]
	D      int
	Eps    float32
	AddOne bool
	TrainW bool
}

// Plan implements Op.
func (n *RMSNorm) Plan(in []Shape, want []bool) Plan {
	p := Plan{Out: in[0], ReadsIn: make([]bool, len(in)), Cheap: true,
		Saved: []Shape{{Rows: in[0].Rows, Count: in[0].Count, Cols: 1}}}
	p.ReadsIn[0] = true
	if n.TrainW {
		p.ReadsIn[1] = want[0]
	}
	return p
}

func (n *RMSNorm) weight(w *Work) []float32 {
	if n.TrainW {
		return w.In[1]
	}
	return n.W
}

// Forward implements Op.
func (n *RMSNorm) Forward(w *Work) {
	kernels.RMSNorm(w.Pool, w.Out, w.Saved[0], w.In[0], n.weight(w), len(w.Out)/n.D, n.D, n.Eps, n.AddOne)
}

// Backward implements Op.
func (n *RMSNorm) Backward(w *Work) {
	var dw []float32
	if n.TrainW {
		dw = w.DIn[1]
	}
	kernels.RMSNormBackward(w.Pool, w.DIn[0], dw, w.DOut, w.In[0], n.weight(w), w.Saved[0], len(w.DOut)/n.D, n.D, n.AddOne)
}

// LayerNorm is y = (x-mean)/sqrt(var+Eps)·W + B, row by row (Ba, Kiros and Hinton 2016). The inputs are x, then the
// weight [1, D] when TrainW, then the bias [1, D] when TrainB.
type LayerNorm struct {
	W, B   []float32 // [D]
	D      int
	Eps    float32
	TrainW bool
	TrainB bool
}

// Plan implements Op.
func (n *LayerNorm) Plan(in []Shape, want []bool) Plan {
	stat := Shape{Rows: in[0].Rows, Count: in[0].Count, Cols: 1}
	p := Plan{Out: in[0], ReadsIn: make([]bool, len(in)), Saved: []Shape{stat, stat}, Cheap: true}
	p.ReadsIn[0] = true
	if n.TrainW {
		p.ReadsIn[1] = want[0]
	}
	return p
}

// Forward implements Op.
func (n *LayerNorm) Forward(w *Work) {
	g, b := n.W, n.B
	if n.TrainW {
		g = w.In[1]
	}
	if n.TrainB {
		b = w.In[len(w.In)-1]
	}
	kernels.LayerNorm(w.Pool, w.Out, w.Saved[0], w.Saved[1], w.In[0], g, b, len(w.Out)/n.D, n.D, n.Eps)
}

// Backward implements Op.
func (n *LayerNorm) Backward(w *Work) {
	g := n.W
	var dw, db []float32
	if n.TrainW {
		g, dw = w.In[1], w.DIn[1]
	}
	if n.TrainB {
		db = w.DIn[len(w.In)-1]
	}
	kernels.LayerNormBackward(w.Pool, w.DIn[0], dw, db, w.DOut, w.In[0], g, w.Saved[0], w.Saved[1], len(w.DOut)/n.D, n.D)
}
