package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// circulant is the form of a block-circulant ΔW of m×n blocks of size b.
type circulant struct {
	b, m, n, f int       // f frequencies: 0 … b/2
	analysis   []float32 // [b, 2f]: cos(2πjf/b), then sin
	synthesis  []float32 // [2f, b]: the same, weighted so that analysis·synthesis is the identity
}

func newCirculant(b, m, n int) *circulant {
	c := &circulant{b: b, m: m, n: n, f: b/2 + 1}
	c.analysis, c.synthesis = make([]float32, b*2*c.f), make([]float32, 2*c.f*b)
	for k := range c.f {
		weight := 2 / float64(b)
		if k == 0 || 2*k == b {
			weight = 1 / float64(b)
		}
		for j := range b {
			sin, cos := math.Sincos(2 * math.Pi * float64(k*j%b) / float64(b))
			c.analysis[j*2*c.f+k], c.analysis[j*2*c.f+c.f+k] = float32(cos), float32(sin)
			c.synthesis[k*b+j], c.synthesis[(c.f+k)*b+j] = float32(weight*cos), float32(weight*sin)
		}
	}
	return c
}

func (c *circulant) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	return b.Apply(&circulantOp{circulant: c, banks: newBanks(t.sizes())}, append([]nn.Ref{s.Out, s.In[0]}, t.refs(b)...)...)
}

func (c *circulant) merge(t *target, p [][]float32, w, _ []float32) error {
	for i := range t.out {
		for j := range t.in {
			v := p[0][(i/c.b*c.n+j/c.b)*c.b+(j%c.b-i%c.b+c.b)%c.b]
			w[i*t.in+j] += v / float32(t.in)
		}
	}
	return nil
}

// circulantOp is out = y + x·ΔWᵀ. The inputs are y [T, m·b], x [T, n·b] and the bank of the kernel [m, n, b]. With X = Σ x_j·e^{iωj} of
// each block of x and W = Σ w_l·e^{-iωl}, the block of the output is the real part of Σ X·W·e^{-iωk}/b.
type circulantOp struct {
	*circulant
	banks banks
}

// circulantRows is how many rows are transformed at a time.
const circulantRows = 256

// Plan implements nn.Op.
func (o *circulantOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	widest := max(o.m, o.n)
	n := 8*o.f*o.m*o.n + 2*o.m*o.n*o.f + 3*circulantRows*widest*2*o.f
	return nn.Plan{Out: in[0], ReadsIn: []bool{false, want[2], want[1]}, Pass: []bool{true, false, false},
		InPlace: []bool{true, false, false},
		Scratch: func(nn.Caps, int) int { return n }}
}

// spectra writes the analysis of rows·blocks pieces of x as [rows·blocks, 2f].
func (o *circulantOp) spectra(w *nn.Work, pieces int, x, s []float32) {
	kernels.Gemm(w.Pool, pieces, 2*o.f, o.b, 1, x, o.b, 1, o.analysis, 2*o.f, 1, 0, s, 2*o.f)
}

// kernel writes for each frequency the real form [2n, 2m] of the complex W/in [n, m]: [re, im]·form is the product with W.
func (o *circulantOp) kernel(w *nn.Work, p, form, s []float32) {
	o.spectra(w, o.m*o.n, p, s)
	scale := 1 / float32(o.n*o.b)
	for i := range o.m {
		for j := range o.n {
			at := (i*o.n + j) * 2 * o.f
			for k := range o.f {
				re, im := s[at+k]*scale, -s[at+o.f+k]*scale
				q := form[k*4*o.m*o.n:]
				q[(2*j)*2*o.m+2*i], q[(2*j)*2*o.m+2*i+1] = re, im
				q[(2*j+1)*2*o.m+2*i], q[(2*j+1)*2*o.m+2*i+1] = -im, re
			}
		}
	}
}

// synthesize adds to y [rows·blocks, b] the signals of the spectra z [f, rows, blocks, re im]; sign is that of the sines.
func (o *circulantOp) synthesize(w *nn.Work, rows, blocks int, z, y []float32, sign float32) {
	n := rows * blocks
	kernels.Gemm(w.Pool, n, o.b, o.f, 1, z, 2, 2*n, o.synthesis, o.b, 1, 1, y, o.b)
	kernels.Gemm(w.Pool, n, o.b, o.f, sign, z[1:], 2, 2*n, o.synthesis[o.f*o.b:], o.b, 1, 1, y, o.b)
}

// Forward implements nn.Op.
func (o *circulantOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	form, ws, xs, z, _ := o.scratch(w)
	in, out := o.n*o.b, o.m*o.b
	o.eachSlot(w, func(slot int, rows func(f func(lo, hi int))) {
		o.kernel(w, nn.Bank(w.In[2], slot, o.m*in), form, ws)
		rows(func(lo, hi int) {
			k := hi - lo
			o.spectra(w, k*o.n, w.In[1][lo*in:], xs)
			o.product(w, k, o.n, o.m, xs, form, z)
			o.synthesize(w, k, o.m, z, w.Out[lo*out:], 1)
		})
	})
}

// product is, for each frequency, z [rows, to, re im] = s [rows, from, re im]·form.
func (o *circulantOp) product(w *nn.Work, rows, from, to int, s, form, z []float32) {
	brs, bcs := 2*o.m, 1
	w.Pool.Run(o.f, func(k int) {
		kernels.Gemm(nil, rows, 2*to, 2*from, 1, s[k:], from*2*o.f, o.f, form[k*4*o.m*o.n:], brs, bcs, 0, z[k*rows*2*to:], 2*to)
	})
}

func (o *circulantOp) scratch(w *nn.Work) (form, ws, xs, z, gs []float32) {
	s, widest := w.Scratch, circulantRows*max(o.m, o.n)*2*o.f
	form, ws = carve(&s, 8*o.f*o.m*o.n), carve(&s, 2*o.m*o.n*o.f)
	return form, ws, carve(&s, widest), carve(&s, widest), carve(&s, widest)
}

// eachSlot calls f for each slot in use, with what walks its rows in short pieces.
func (o *circulantOp) eachSlot(w *nn.Work, f func(slot int, rows func(f func(lo, hi int)))) {
	for slot, rows := range slots(w.Segments()) {
		f(slot, func(g func(lo, hi int)) {
			for start, end := range rows.each {
				for lo := start; lo < end; lo += circulantRows {
					g(lo, min(lo+circulantRows, end))
				}
			}
		})
	}
}

// Backward implements nn.Op.
func (o *circulantOp) Backward(w *nn.Work) {
	form, ws, xs, z, gs := o.scratch(w)
	in, out, mn := o.n*o.b, o.m*o.b, o.m*o.n
	o.eachSlot(w, func(slot int, rows func(f func(lo, hi int))) {
		if w.DIn[1] != nil { // the real form of W/in with the blocks' places exchanged
			o.kernel(w, nn.Bank(w.In[2], slot, o.m*in), form, ws)
			flip := form[4*o.f*mn:]
			for k := range o.f {
				a, b := form[k*4*mn:], flip[k*4*mn:]
				for i := range o.m {
					for j := range o.n {
						for r := range 2 {
							for c := range 2 {
								b[(2*i+r)*2*o.n+2*j+c] = a[(2*j+r)*2*o.m+2*i+c]
							}
						}
					}
				}
			}
			rows(func(lo, hi int) {
				k := hi - lo
				o.spectra(w, k*o.m, w.DOut[lo*out:], gs)
				w.Pool.Run(o.f, func(q int) {
					kernels.Gemm(nil, k, 2*o.n, 2*o.m, 1, gs[q:], o.m*2*o.f, o.f, flip[q*4*mn:], 2*o.n, 1, 0, z[q*k*2*o.n:], 2*o.n)
				})
				o.synthesize(w, k, o.n, z, w.DIn[1][lo*in:], -1)
			})
		}
		if w.DIn[2] == nil {
			return
		}
		acc := form[:4*o.f*mn] // [f, 2n, 2m]: xᵀ·dy of the spectra
		clear(acc)
		rows(func(lo, hi int) {
			k := hi - lo
			o.spectra(w, k*o.n, w.In[1][lo*in:], xs)
			o.spectra(w, k*o.m, w.DOut[lo*out:], gs)
			w.Pool.Run(o.f, func(q int) {
				kernels.Gemm(nil, 2*o.n, 2*o.m, k, 1, xs[q:], o.f, o.n*2*o.f, gs[q:], o.m*2*o.f, o.f, 1, acc[q*4*mn:], 2*o.m)
			})
		})
		// dw is the signal of X·conj(G)/in.
		p := form[4*o.f*mn:]
		scale := 1 / float32(in)
		for q := range o.f {
			for i := range o.m {
				for j := range o.n {
					a := acc[q*4*mn:]
					cc, cs := a[(2*j)*2*o.m+2*i], a[(2*j)*2*o.m+2*i+1]
					sc, ss := a[(2*j+1)*2*o.m+2*i], a[(2*j+1)*2*o.m+2*i+1]
					at := q*2*mn + (i*o.n+j)*2
					p[at], p[at+1] = (cc+ss)*scale, (sc-cs)*scale
				}
			}
		}
		o.synthesize(w, o.m, o.n, p, nn.Bank(w.DIn[2], slot, o.m*in), 1)
	})
}
