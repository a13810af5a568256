package peft

import (
	"math"

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

// lstmOp is a bidirectional LSTM layer (Hochreiter and Schmidhuber 1997), torch's with batch_first: out [slots·n, 2·h]. The inputs are
// x [slots·n, in] and, for each direction, the banks of weight_ih [4h, in], weight_hh [4h, h], bias_ih and bias_hh [1, 4h]; the gates
// are in torch's order i, f, g, o.
type lstmOp struct{ in, h, n int }

// Plan implements nn.Op.
func (o *lstmOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	reads := make([]bool, len(in))
	for i := range reads {
		reads[i] = i == 0 || i%4 == 1 || i%4 == 2 // the biases are not read
	}
	rows := in[0].Count
	return nn.Plan{Out: nn.Shape{Count: rows, Cols: 2 * o.h}, ReadsIn: reads, ReadsOut: true, Wide: true,
		Saved:   []nn.Shape{{Count: rows, Cols: 8 * o.h}, {Count: rows, Cols: 2 * o.h}}, // gates and cells
		Scratch: func(nn.Caps, int) int { return o.n*4*o.h + 2*o.h }}
}

// order calls f for the tokens in the order of a direction, with the token before (-1 for none).
func (o *lstmOp) order(dir int, f func(t, before int)) {
	before := -1
	for i := range o.n {
		t := i
		if dir == 1 {
			t = o.n - 1 - i
		}
		f(t, before)
		before = t
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
func tanh(x float32) float32    { return float32(math.Tanh(float64(x))) }

// Forward implements nn.Op.
func (o *lstmOp) Forward(w *nn.Work) {
	h := o.h
	for s := range len(w.Out) / (o.n * 2 * h) {
		x, out := nn.Bank(w.In[0], s, o.n*o.in), nn.Bank(w.Out, s, o.n*2*h)
		gates, cells := nn.Bank(w.Saved[0], s, o.n*8*h), nn.Bank(w.Saved[1], s, o.n*2*h)
		for dir := range 2 {
			p := w.In[1+4*dir:]
			wih, whh := nn.Bank(p[0], s, 4*h*o.in), nn.Bank(p[1], s, 4*h*h)
			bih, bhh := nn.Bank(p[2], s, 4*h), nn.Bank(p[3], s, 4*h)
			o.order(dir, func(t, before int) {
				a := gates[t*8*h+dir*4*h:][:4*h]
				kernels.Gemm(nil, 1, 4*h, o.in, 1, x[t*o.in:], o.in, 1, wih, 1, o.in, 0, a, 4*h)
				if before >= 0 {
					kernels.Gemm(nil, 1, 4*h, h, 1, out[before*2*h+dir*h:], h, 1, whh, 1, h, 1, a, 4*h)
				}
				for j := range a {
					a[j] += bih[j] + bhh[j]
				}
				for j := range h {
					i, f, g, u := sigmoid(a[j]), sigmoid(a[h+j]), tanh(a[2*h+j]), sigmoid(a[3*h+j])
					a[j], a[h+j], a[2*h+j], a[3*h+j] = i, f, g, u
					c := float32(i * g)
					if before >= 0 {
						c = float32(f*cells[before*2*h+dir*h+j]) + c
					}
					cells[t*2*h+dir*h+j] = c
					out[t*2*h+dir*h+j] = u * tanh(c)
				}
			})
		}
	}
}

// Backward implements nn.Op: back-propagation through time.
func (o *lstmOp) Backward(w *nn.Work) {
	h := o.h
	for s := range len(w.Out) / (o.n * 2 * h) {
		x, out, dout := nn.Bank(w.In[0], s, o.n*o.in), nn.Bank(w.Out, s, o.n*2*h), nn.Bank(w.DOut, s, o.n*2*h)
		gates, cells := nn.Bank(w.Saved[0], s, o.n*8*h), nn.Bank(w.Saved[1], s, o.n*2*h)
		for dir := range 2 {
			p, dp := w.In[1+4*dir:], w.DIn[1+4*dir:]
			wih, whh := nn.Bank(p[0], s, 4*h*o.in), nn.Bank(p[1], s, 4*h*h)
			da := w.Scratch[:o.n*4*h]
			dh, dc := w.Scratch[o.n*4*h:][:h], w.Scratch[o.n*4*h+h:][:h]
			clear(dh)
			clear(dc)
			o.order(1-dir, func(t, after int) { // the reverse of the forward order
				before := t - 1
				if dir == 1 {
					before = t + 1
				}
				a, z := gates[t*8*h+dir*4*h:][:4*h], da[t*4*h:][:4*h]
				for j := range h {
					i, f, g, u := a[j], a[h+j], a[2*h+j], a[3*h+j]
					tc := tanh(cells[t*2*h+dir*h+j])
					d := dh[j] + dout[t*2*h+dir*h+j]
					c := dc[j] + float32(d*u*(1-tc*tc))
					last := float32(0)
					if before >= 0 && before < o.n {
						last = cells[before*2*h+dir*h+j]
					}
					z[j], z[h+j] = c*g*i*(1-i), c*last*f*(1-f)
					z[2*h+j], z[3*h+j] = c*i*(1-g*g), d*tc*u*(1-u)
					dc[j] = c * f
				}
				kernels.Gemm(nil, 1, h, 4*h, 1, z, 4*h, 1, whh, h, 1, 0, dh, h)
				if dp[1] != nil && before >= 0 && before < o.n {
					kernels.Gemm(nil, 4*h, h, 1, 1, z, 1, 4*h, out[before*2*h+dir*h:], h, 1, 1, nn.Bank(dp[1], s, 4*h*h), h)
				}
			})
			if w.DIn[0] != nil {
				kernels.Gemm(nil, o.n, o.in, 4*h, 1, da, 4*h, 1, wih, o.in, 1, 1, nn.Bank(w.DIn[0], s, o.n*o.in), o.in)
			}
			if dp[0] != nil {
				kernels.Gemm(nil, 4*h, o.in, o.n, 1, da, 1, 4*h, x, o.in, 1, 1, nn.Bank(dp[0], s, 4*h*o.in), o.in)
			}
			for _, d := range dp[2:4] {
				if d != nil {
					kernels.ColSum(nil, nn.Bank(d, s, 4*h), da, o.n, 4*h)
				}
			}
		}
	}
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
