package nn

import (
	"slices"

	"github.com/adaptflow/adaptflow/quant"
)

// Module is an op with a weight of the base model. What adapters ask of such an op they ask by this interface, so that a new op is adapted
// as the others are.
type Module interface {
	Op
	// Base is what the op holds of the base model.
	Base() Base
	// Trained is the op with its weight, its bias or both as inputs behind its own, in this order.
	Trained(weight, bias bool) Op
}

// Matrix is a Module whose weight is a matrix of the base's storage.
type Matrix interface {
	Module
	// WithWeight is the op with another weight of the same size in place of its own.
	WithWeight(w quant.Weight) Op
}

// Base is the weight and the bias that a [Module] holds.
type Base struct {
	W          quant.Weight // of a [Matrix]: [Out, In] of a linear layer or the head, [V, D] of an embedding
	Values     []float32    // of others: [Rows, Cols]
	Bias       []float32    // nil for none
	Rows, Cols int          // of the weight as the base's file stores it
	Transposed bool         // the file stores W as [In, Out] (Conv1D)
	Vector     bool         // the file stores Values as [Cols]: a norm
	Lookup     bool         // rows are looked up, not multiplied
	Vocab      bool         // one row a token: the embedding of tokens or the head
	Scale      float32      // of what is looked up
}

// Shape is the weight's in the base's file.
func (b *Base) Shape() []int {
	if b.Vector {
		return []int{b.Cols}
	}
	return []int{b.Rows, b.Cols}
}

// Dense is a copy of the weight as the base's file stores it.
func (b *Base) Dense() []float32 {
	if b.W == nil {
		return slices.Clone(b.Values)
	}
	d := make([]float32, b.Rows*b.Cols)
	b.W.Dense(d)
	if !b.Transposed {
		return d
	}
	t := make([]float32, len(d))
	out, in := b.Cols, b.Rows
	for o := range out {
		for i := range in {
			t[i*out+o] = d[o*in+i]
		}
	}
	return t
}

// Base implements Module.
func (l *Linear) Base() Base {
	b := Base{W: l.W, Bias: l.Bias, Rows: l.Out, Cols: l.In, Transposed: l.Transposed}
	if l.Transposed {
		b.Rows, b.Cols = l.In, l.Out
	}
	return b
}

// Trained implements Module.
func (l *Linear) Trained(weight, bias bool) Op {
	c := *l
	c.TrainW, c.TrainBias = weight, bias
	return &c
}

// WithWeight implements Matrix.
func (l *Linear) WithWeight(w quant.Weight) Op {
	c := *l
	c.W = w
	return &c
}

// Base implements Module.
func (h *Head) Base() Base { return Base{W: h.W, Bias: h.Bias, Rows: h.V, Cols: h.D, Vocab: true} }

// Trained implements Module.
func (h *Head) Trained(weight, bias bool) Op {
	c := *h
	c.TrainW, c.TrainBias = weight, bias
	return &c
}

// WithWeight implements Matrix.
func (h *Head) WithWeight(w quant.Weight) Op {
	c := *h
	c.W = w
	return &c
}

// Base implements Module.
func (e *Embedding) Base() Base {
	b := Base{W: e.W, Rows: e.V, Cols: e.D, Lookup: true, Vocab: true, Scale: e.Scale}
	if b.Scale == 0 {
		b.Scale = 1
	}
	return b
}

// Trained implements Module. There is no bias.
func (e *Embedding) Trained(weight, _ bool) Op {
	c := *e
	c.TrainW = weight
	return &c
}

// WithWeight implements Matrix.
func (e *Embedding) WithWeight(w quant.Weight) Op {
	c := *e
	c.W = w
	return &c
}

// Base implements Module.
func (e *PositionEmbedding) Base() Base {
	return Base{Values: e.W, Rows: e.P, Cols: e.D, Lookup: true, Scale: 1}
}

// Trained implements Module. There is no bias.
func (e *PositionEmbedding) Trained(weight, _ bool) Op {
	c := *e
	c.TrainW = weight
	return &c
}

// Base implements Module.
func (n *RMSNorm) Base() Base { return Base{Values: n.W, Rows: 1, Cols: n.D, Vector: true} }

// Trained implements Module. There is no bias.
func (n *RMSNorm) Trained(weight, _ bool) Op {
	c := *n
	c.TrainW = weight
	return &c
}

// Base implements Module.
func (n *LayerNorm) Base() Base {
	return Base{Values: n.W, Bias: n.B, Rows: 1, Cols: n.D, Vector: true}
}

// Trained implements Module.
func (n *LayerNorm) Trained(weight, bias bool) Op {
	c := *n
	c.TrainW, c.TrainB = weight, bias
	return &c
}
