package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

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

func tanh(x float32) float32 { return float32(math.Tanh(float64(x))) }

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
