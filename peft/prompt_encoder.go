package peft

import (
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// The layers of prompt encoders: small networks over the virtual tokens of each slot. Their values are [slots·n, columns] and stay float32
// whatever the program's dtype.

// denseOp is act(x·Wᵀ + b), torch's Linear and an activation that its own output differentiates: relu, tanh or none. The inputs are
// x [slots·n, in] and the banks of W [out, in] and b [1, out].
type denseOp struct {
	in, out, n int
	act        string
}

// Plan implements nn.Op.
func (o *denseOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	rows := in[0].Count
	return nn.Plan{Out: nn.Shape{Count: rows, Cols: o.out}, ReadsIn: []bool{true, true, false}, ReadsOut: true, Wide: true,
		Scratch: func(nn.Caps, int) int { return rows * o.out }}
}

// Forward implements nn.Op.
func (o *denseOp) Forward(w *nn.Work) {
	for s := range len(w.Out) / (o.n * o.out) {
		x, y, b := nn.Bank(w.In[0], s, o.n*o.in), nn.Bank(w.Out, s, o.n*o.out), nn.Bank(w.In[2], s, o.out)
		for r := range o.n {
			copy(y[r*o.out:(r+1)*o.out], b)
		}
		kernels.Gemm(w.Pool, o.n, o.out, o.in, 1, x, o.in, 1, nn.Bank(w.In[1], s, o.out*o.in), 1, o.in, 1, y, o.out)
		switch o.act {
		case "relu":
			kernels.Activate(w.Pool, kernels.ReLU, y, y)
		case "tanh":
			kernels.Activate(w.Pool, kernels.Tanh, y, y)
		}
	}
}

// Backward implements nn.Op.
func (o *denseOp) Backward(w *nn.Work) {
	g := w.Scratch[:len(w.DOut)]
	copy(g, w.DOut)
	for i, y := range w.Out {
		switch {
		case o.act == "tanh":
			g[i] *= 1 - float32(y*y)
		case o.act == "relu" && y <= 0:
			g[i] = 0
		}
	}
	for s := range len(w.Out) / (o.n * o.out) {
		x, z, weight := nn.Bank(w.In[0], s, o.n*o.in), nn.Bank(g, s, o.n*o.out), nn.Bank(w.In[1], s, o.out*o.in)
		if w.DIn[0] != nil {
			kernels.Gemm(w.Pool, o.n, o.in, o.out, 1, z, o.out, 1, weight, o.in, 1, 1, nn.Bank(w.DIn[0], s, o.n*o.in), o.in)
		}
		if w.DIn[1] != nil {
			kernels.Gemm(w.Pool, o.out, o.in, o.n, 1, z, 1, o.out, x, o.in, 1, 1, nn.Bank(w.DIn[1], s, o.out*o.in), o.in)
		}
		if w.DIn[2] != nil {
			kernels.ColSum(w.Pool, nn.Bank(w.DIn[2], s, o.out), z, o.n, o.out)
		}
	}
}

// denseValues is denseOp on one slot's values, for what a folder holds.
func denseValues(x, weight, b []float32, in, out int, act string) []float32 {
	o := &denseOp{in: in, out: out, n: len(x) / in, act: act}
	y := make([]float32, o.n*out)
	o.Forward(&nn.Work{In: [][]float32{x, weight, b}, Out: y})
	return y
}

// dense is a layer of an encoder with its parameters.
type dense struct {
	in, out int
	act     string
	w, b    *Param
}

// newDense makes a layer with torch's names and starting values of nn.Linear.
func newDense(env Env, name string, in, out int, act string) dense {
	name = encoderName(name)
	return dense{in, out, act, newParam(name+".weight", "", uniform(env.Seed, name+".weight", in), out, in),
		newParam(name+".bias", "", uniform(env.Seed, name+".bias", in), out)}
}

func (d dense) wire(b *nn.Builder, n int, x nn.Ref) nn.Ref {
	return b.Apply(&denseOp{d.in, d.out, n, d.act}, x, d.w.param(b), d.b.param(b))
}

func (d dense) values(value func(string) []float32, x []float32) []float32 {
	return denseValues(x, value(d.w.Name), value(d.b.Name), d.in, d.out, d.act)
}

// encoderDropout is dropout on a layer's output, in training. The mask depends on the seed, the name, the optimiser step and the place.
type encoderDropout struct {
	p    float32
	name string
}

// Plan implements nn.Op.
func (o *encoderDropout) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: in[0], Wide: true}
}

func (o *encoderDropout) factor(w *nn.Work, key philox.Key, i int) float32 {
	switch {
	case !w.Training:
		return 1
	case philox.Uniform(key.At(w.Step.Index, uint64(i))[0]) < o.p:
		return 0
	}
	return 1 / (1 - o.p)
}

// Forward implements nn.Op.
func (o *encoderDropout) Forward(w *nn.Work) {
	key := philox.NewKey(w.Seed, "dropout", o.name)
	for i, x := range w.In[0] {
		w.Out[i] = x * o.factor(w, key, i)
	}
}

// Backward implements nn.Op.
func (o *encoderDropout) Backward(w *nn.Work) {
	key := philox.NewKey(w.Seed, "dropout", o.name)
	for i, g := range w.DOut {
		w.DIn[0][i] += float32(g * o.factor(w, key, i))
	}
}
