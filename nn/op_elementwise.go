package nn

import (
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
)

// GatedAct is y = act(gate)·up, the product of a gated MLP (SwiGLU, GeGLU; Shazeer 2020). The inputs are gate and up.
type GatedAct struct{ Act kernels.Act }

// Plan implements Op.
func (a *GatedAct) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: in[0], ReadsIn: []bool{true, true}, Sets: []bool{true, true}, Cheap: true}
}

// Forward implements Op.
func (a *GatedAct) Forward(w *Work) { kernels.GatedAct(w.Pool, a.Act, w.Out, w.In[0], w.In[1]) }

// Backward implements Op.
func (a *GatedAct) Backward(w *Work) {
	if dg, du := w.DIn[0], w.DIn[1]; dg != nil && du != nil && w.Beta(0) != w.Beta(1) { // something else has taken part in one of them
		kernels.GatedActBackward(w.Pool, a.Act, w.Beta(0), dg, nil, w.DOut, w.In[0], w.In[1])
		kernels.GatedActBackward(w.Pool, a.Act, w.Beta(1), nil, du, w.DOut, w.In[0], w.In[1])
	} else if dg != nil {
		kernels.GatedActBackward(w.Pool, a.Act, w.Beta(0), dg, du, w.DOut, w.In[0], w.In[1])
	} else {
		kernels.GatedActBackward(w.Pool, a.Act, w.Beta(1), nil, du, w.DOut, w.In[0], w.In[1])
	}
}

// Activation is y = act(x).
type Activation struct{ Act kernels.Act }

// Plan implements Op.
func (a *Activation) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: in[0], ReadsIn: []bool{true}, Sets: []bool{true}, Cheap: true}
}

// Forward implements Op.
func (a *Activation) Forward(w *Work) { kernels.Activate(w.Pool, a.Act, w.Out, w.In[0]) }

// Backward implements Op.
func (a *Activation) Backward(w *Work) {
	kernels.ActivateBackward(w.Pool, a.Act, w.Beta(0), w.DIn[0], w.DOut, w.In[0])
}

// Add is y = a + b, the residual connection.
type Add struct{}

// Plan implements Op.
func (Add) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: in[0], Pass: []bool{true, true}, InPlace: []bool{true, true}, Wide: true}
}

// Forward implements Op.
func (Add) Forward(w *Work) { kernels.Add(w.Pool, w.Out, w.In[0], w.In[1]) }

// Backward implements Op.
func (Add) Backward(*Work) {}

// AddBias is y = x + b for a trainable bias b [1, D], the second input.
type AddBias struct{ D int }

// Plan implements Op.
func (a *AddBias) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: in[0], Pass: []bool{true, false}, InPlace: []bool{true, false}}
}

// Forward implements Op.
func (a *AddBias) Forward(w *Work) {
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	kernels.AddBias(w.Pool, w.Out, len(w.Out)/a.D, a.D, w.In[1])
}

// Backward implements Op.
func (a *AddBias) Backward(w *Work) {
	if w.DIn[1] != nil {
		kernels.ColSum(w.Pool, w.DIn[1], w.DOut, len(w.DOut)/a.D, a.D)
	}
}

// Dropout sets each value to zero with probability P and scales the others by 1/(1-P), in training only. The mask
// depends on the seed, Name, the optimiser step, the document's id, the position and the channel, and on nothing else.
type Dropout struct {
	P    float32
	Name string
}

// Plan implements Op.
func (d *Dropout) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: in[0], InPlace: []bool{true}, Sets: []bool{true}, Scratch: func(c Caps, _ int) int { return in[0].Len(c) }}
}

// ByText implements [Textual].
func (d *Dropout) ByText(training bool) bool { return training && d.P > 0 }

// Forward implements Op.
func (d *Dropout) Forward(w *Work) { DropoutRows(w, d.Name, d.P, w.Out, w.In[0]) }

// Backward implements Op.
func (d *Dropout) Backward(w *Work) {
	if w.Beta(0) == 0 {
		DropoutRows(w, d.Name, d.P, w.DIn[0], w.DOut)
		return
	}
	s := w.Scratch[:len(w.DOut)]
	DropoutRows(w, d.Name, d.P, s, w.DOut)
	kernels.AddTo(w.Pool, w.DIn[0], s)
}

// DropoutRows writes the rows of x [T, D], dropped and scaled as Dropout says, to y, which may be x. It is its own
// backward: applied to a gradient it gives the gradient of the input. Outside training it copies.
func DropoutRows(w *Work, name string, p float32, y, x []float32) {
	if !w.Training || p <= 0 {
		if len(x) > 0 && &y[0] != &x[0] {
			copy(y, x)
		}
		return
	}
	s := w.Step
	d := len(x) / len(s.Tokens)
	key := philox.NewKey(w.Seed, "dropout", name)
	scale := 1 / (1 - p)
	for i := range s.Docs {
		doc := s.Docs[i]
		id := s.DocID(i)
		const rows = 16
		n := (int(doc.End-doc.Start) + rows - 1) / rows
		w.Pool.Run(n, func(blk int) {
			lo := int(doc.Start) + blk*rows
			for t := lo; t < min(lo+rows, int(doc.End)); t++ {
				for c := 0; c < d; c += 4 {
					// The counter: document id, then optimiser step, position and group of four channels.
					hi := id ^ s.Index*0x9E3779B97F4A7C15
					r := key.At(hi, uint64(uint32(s.Positions[t]))<<32|uint64(c/4))
					for j := c; j < min(c+4, d); j++ {
						v := float32(0)
						if philox.Uniform(r[j-c]) >= p {
							v = x[t*d+j] * scale
						}
						y[t*d+j] = v
					}
				}
			}
		})
	}
}
