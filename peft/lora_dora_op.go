package peft

import (
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// doraOp is out = y + (f-1)·y' + f·scale·u·Bᵀ + bias with f = m/‖W + scale·B·A‖. The inputs are y [T, out], the base's output without bias,
// the banks of A, B and m [1, out]; then, of a linear layer, x [T, in] with u = x·Aᵀ, y' = W·x where x is dropped out (else y' is y), and
// the bias where it is trained. Of an embedding u are the columns of A at the tokens. Segments of slot -1 have y + bias.
type doraOp struct {
	*dora
	scale     float32
	lookup    float32 // the embedding's own scale
	ids       func(*nn.Work) []int32
	bias      []float32
	trainBias bool
	dropped   bool
}

// base is the index of y'.
func (o *doraOp) base() int {
	if o.dropped {
		return 5
	}
	return 0
}

// Plan implements nn.Op.
func (o *doraOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	r := o.pair.r
	p := nn.Plan{Out: in[0], ReadsIn: make([]bool, len(in)), Saved: []nn.Shape{{Rows: in[0].Rows, Count: in[0].Count, Cols: r}}}
	for i := 1; i < 4; i++ {
		p.ReadsIn[i] = true
	}
	p.ReadsIn[o.base()] = true
	if o.ids == nil {
		p.ReadsIn[4] = want[1]
	}
	rows := in[0]
	p.Scratch = func(c nn.Caps, _ int) int { return o.dora.scratch() + 2*o.out + 2*o.out*r + rows.At(c)*r }
	return p
}

// doraFactors are f and scale·f·B of one slot.
type doraFactors struct {
	slot    int
	f, b    []float32 // [out], [out, r]
	n       []float32 // norms
	work    []float32
	scratch []float32 // what is left
}

func (o *doraOp) factors(w *nn.Work) *doraFactors {
	s := w.Scratch
	f := &doraFactors{slot: -1, f: carve(&s, o.out), n: carve(&s, o.out), b: carve(&s, o.out*o.pair.r), work: carve(&s, o.dora.scratch())}
	f.scratch = s
	return f
}

// of computes the factors of a slot.
func (f *doraFactors) of(o *doraOp, w *nn.Work, slot int) {
	if f.slot == slot {
		return
	}
	f.slot = slot
	r := o.pair.r
	a, b, m := nn.Bank(w.In[1], slot, o.pair.a.Size()), nn.Bank(w.In[2], slot, o.pair.b.Size()), nn.Bank(w.In[3], slot, o.out)
	o.norms(w.Pool, a, b, f.work, f.n)
	for i := range o.out {
		f.f[i] = m[i] / f.n[i]
		for k := range r {
			f.b[i*r+k] = o.scale * o.lookup * f.f[i] * b[i*r+k]
		}
	}
}

// Forward implements nn.Op.
func (o *doraOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	n, r := o.out, o.pair.r
	u, y, base := w.Saved[0], w.In[0], w.In[o.base()]
	bias := o.bias
	if o.trainBias {
		bias = w.In[len(w.In)-1]
	}
	fs := o.factors(w)
	w.EachSegment(func(start, end, slot int) {
		if start == end {
			return
		}
		if slot >= 0 {
			fs.of(o, w, slot)
			a := nn.Bank(w.In[1], slot, o.pair.a.Size())
			if o.ids == nil {
				in := o.pair.a.Cols
				kernels.Gemm(w.Pool, end-start, r, in, 1, w.In[4][start*in:], in, 1, a, 1, in, 0, u[start*r:], r)
			} else {
				gather(u, a, o.ids(w), start, end, r, o.pair.a.Cols)
			}
		}
		eachRows(w.Pool, end-start, func(lo, hi int) {
			for t := start + lo; t < start+hi; t++ {
				out, yt, bt := w.Out[t*n:(t+1)*n], y[t*n:(t+1)*n], base[t*n:(t+1)*n]
				for i := range out {
					v := yt[i]
					if slot >= 0 {
						v += float32((fs.f[i] - 1) * bt[i])
					}
					if bias != nil {
						v += bias[i]
					}
					out[i] = v
				}
			}
		})
		if slot >= 0 {
			kernels.Gemm(w.Pool, end-start, n, r, 1, u[start*r:], r, 1, fs.b, 1, r, 1, w.Out[start*n:], n)
		}
	})
}

// Backward implements nn.Op.
func (o *doraOp) Backward(w *nn.Work) {
	if len(w.DOut) == 0 {
		return
	}
	n, r, in := o.out, o.pair.r, o.pair.a.Cols
	u, base := w.Saved[0], w.In[o.base()]
	if o.trainBias && w.DIn[len(w.In)-1] != nil {
		kernels.ColSum(w.Pool, w.DIn[len(w.In)-1], w.DOut, len(w.DOut)/n, n)
	}
	fs := o.factors(w)
	du, dyu := fs.scratch[:len(u)], fs.scratch[len(u):][:n*r]
	w.EachSegment(func(start, end, slot int) {
		if start == end {
			return
		}
		rows := end - start
		if slot < 0 {
			if w.DIn[0] != nil {
				kernels.AddTo(w.Pool, w.DIn[0][start*n:end*n], w.DOut[start*n:end*n])
			}
			return
		}
		fs.of(o, w, slot)
		b := nn.Bank(w.In[2], slot, n*r)
		dy := w.DOut[start*n:]
		kernels.Gemm(w.Pool, n, r, rows, 1, dy, 1, n, u[start*r:], r, 1, 0, dyu, r) // dyᵀ·u
		if db := nn.Bank(w.DIn[2], slot, n*r); db != nil {
			for i := range n {
				kernels.Axpy(nil, o.scale*o.lookup*fs.f[i], dyu[i*r:(i+1)*r], db[i*r:(i+1)*r])
			}
		}
		if dm := nn.Bank(w.DIn[3], slot, n); dm != nil {
			const block = 64
			w.Pool.Run((n+block-1)/block, func(k int) {
				var sum [block]float64
				lo, hi := k*block, min((k+1)*block, n)
				for t := start; t < end; t++ {
					for i := lo; i < hi; i++ {
						sum[i-lo] += float64(w.DOut[t*n+i]) * float64(base[t*n+i])
					}
				}
				for i := lo; i < hi; i++ {
					s := sum[i-lo]
					for j := range r {
						s += float64(o.scale*o.lookup) * float64(b[i*r+j]) * float64(dyu[i*r+j])
					}
					dm[i] += float32(s / float64(fs.n[i]))
				}
			})
		}
		eachRows(w.Pool, rows, func(lo, hi int) {
			for k, dst := range [2][]float32{w.DIn[0], w.DIn[o.base()]} {
				if dst == nil || k == 1 && !o.dropped {
					continue
				}
				for t := start + lo; t < start+hi; t++ {
					g, d := w.DOut[t*n:(t+1)*n], dst[t*n:(t+1)*n]
					for i, v := range g {
						f := fs.f[i]
						if o.dropped {
							f = float32(k)*f + float32(1-2*k) // y has 1, y' has f-1
						}
						d[i] += float32(f * v)
					}
				}
			}
		})
		wantX := o.ids == nil && w.DIn[4] != nil
		if w.DIn[1] == nil && !wantX {
			return
		}
		kernels.Gemm(w.Pool, rows, r, n, 1, dy, n, 1, fs.b, r, 1, 0, du[start*r:], r)
		if da := nn.Bank(w.DIn[1], slot, r*in); da != nil {
			if o.ids == nil {
				kernels.Gemm(w.Pool, r, in, rows, 1, du[start*r:], 1, r, w.In[4][start*in:], in, 1, 1, da, in)
			} else {
				scatter(da, du, o.ids(w), start, end, r, in)
			}
		}
		if wantX {
			kernels.Gemm(w.Pool, rows, in, r, 1, du[start*r:], r, 1, nn.Bank(w.In[1], slot, r*in), in, 1, 1, w.DIn[4][start*in:], in)
		}
	})
}
