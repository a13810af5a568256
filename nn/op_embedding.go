package nn

import (
	"fmt"

	"github.com/adaptflow/adaptflow/quant"
)

// Embedding looks up the row of each token: out[t] = Scale·W[tokens[t]], [T, D]. A Scale of 0 means 1.
// With TrainW the weight is input 0, [V, D], and W is not read.
type Embedding struct {
	W      quant.Weight // [V, D]
	V, D   int
	Scale  float32
	Own    bool // the scale is the module's own, so that embeddings that are given in its place are not scaled (Gemma 3)
	TrainW bool
}

// Plan implements Op.
func (e *Embedding) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: Shape{Rows: T, Cols: e.D}, Wide: true}
}

// Forward implements Op.
func (e *Embedding) Forward(w *Work) {
	for t, id := range w.Step.Tokens {
		if id < 0 || int(id) >= e.V {
			panic(fmt.Sprintf("nn: token %d at row %d, but the vocabulary has %d", id, t, e.V))
		}
	}
	if e.TrainW {
		for t, id := range w.Step.Tokens {
			copy(w.Out[t*e.D:(t+1)*e.D], w.In[0][int(id)*e.D:])
		}
	} else {
		e.W.Rows(w.Out, w.Step.Tokens)
	}
	if e.Scale != 0 && e.Scale != 1 {
		for i := range w.Out {
			w.Out[i] *= e.Scale
		}
	}
}

// Backward implements Op.
func (e *Embedding) Backward(w *Work) {
	if !e.TrainW || w.DIn[0] == nil {
		return
	}
	scale := e.Scale
	if scale == 0 {
		scale = 1
	}
	for t, id := range w.Step.Tokens {
		d := w.DIn[0][int(id)*e.D : (int(id)+1)*e.D]
		for i, g := range w.DOut[t*e.D : (t+1)*e.D] {
			d[i] += float32(scale * g)
		}
	}
}

// PositionEmbedding looks up the row of each position: out[t] = W[positions[t]], [T, D]. With TrainW the table is
// input 0, [P, D], and W is not read.
type PositionEmbedding struct {
	W      []float32 // [P, D]
	P, D   int
	TrainW bool
}

// Plan implements Op.
func (e *PositionEmbedding) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: Shape{Rows: T, Cols: e.D}, Wide: true}
}

// Forward implements Op.
func (e *PositionEmbedding) Forward(w *Work) {
	table := e.W
	if e.TrainW {
		table = w.In[0]
	}
	for t, p := range w.Step.Positions {
		if p < 0 || int(p) >= e.P {
			panic(fmt.Sprintf("nn: position %d at row %d, but the model has %d positions", p, t, e.P))
		}
		copy(w.Out[t*e.D:(t+1)*e.D], table[int(p)*e.D:])
	}
}

// Backward implements Op.
func (e *PositionEmbedding) Backward(w *Work) {
	if !e.TrainW || w.DIn[0] == nil {
		return
	}
	for t, p := range w.Step.Positions {
		d := w.DIn[0][int(p)*e.D : (int(p)+1)*e.D]
		for i, g := range w.DOut[t*e.D : (t+1)*e.D] {
			d[i] += g
		}
	}
}
