package peft

import (
	"fmt"
	"math"
	"sync"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// dora is DoRA at one module (Liu et al. 2024, arXiv:2402.09353): the rows of W + scale·B·A have the trained magnitudes m, which start at their norms:
// y = m/‖W + scale·B·A‖ · (W + scale·B·A)·x. As in the paper and in HF the norm carries no gradient. Of an embedding it is the columns.
type dora struct {
	m    *Param
	pair *pair
	w    quant.Weight // [out, in] of a linear layer, [V, D] of an embedding
	// out is the number of magnitudes.
	out       int
	embedding bool

	once sync.Once
	own  []float64 // squared norms of W
	held []float32 // norms that a gradient check takes for constants, as the gradients do
}

func (l *lora) attachDora(p *pair, s nn.Site) error {
	d := &dora{pair: p}
	switch o := s.Op.(type) {
	case *nn.Linear:
		d.w, d.out = o.W, o.Out
	case *nn.Embedding:
		d.w, d.out, d.embedding = o.W, o.D, true
	case *nn.PositionEmbedding:
		d.w, d.out, d.embedding = quant.NewF32(o.P, o.D, o.W, o.D, 1), o.D, true
	default:
		return fmt.Errorf("peft: LORA: use_dora has no form for the %s %s here; leave it out of target_modules", s.Kind, s.Name)
	}
	if p.base != nil {
		d.w = p.base.to
	}
	key := prefix + s.Name + ".lora_magnitude_vector"
	d.m = &Param{Name: key + ".weight", Key: key, Rows: 1, Cols: d.out, Shape: []int{d.out}, Init: func(dst []float32) {
		a, b := make([]float32, p.a.Size()), make([]float32, p.b.Size())
		p.a.Init(a)
		p.b.Init(b)
		copy(dst, d.norms(nil, a, b, make([]float32, d.scratch()), dst))
	}}
	p.dora = d
	l.params = append(l.params, d.m)
	return nil
}

// scratch is what norms needs.
func (d *dora) scratch() int { return d.pair.r*d.out + d.w.ScratchLen() }

// norms writes the norms of the rows of W + scale·B·A to dst without making that matrix: ‖W_o‖² + 2·scale·B_o·(A·W_oᵀ) + scale²·B_o·(A·Aᵀ)·B_oᵀ.
func (d *dora) norms(p *pool.Pool, a, b, scratch, dst []float32) []float32 {
	if d.held != nil {
		copy(dst, d.held)
		return dst
	}
	r, in, scale := d.pair.r, d.pair.a.Cols, d.pair.scale
	d.once.Do(func() {
		if d.embedding {
			d.own = quant.ColumnNorms(d.w)
		} else {
			d.own = quant.RowNorms(d.w)
		}
	})
	aw := scratch[:r*d.out] // [r, out]
	if d.embedding {
		quant.Mul(p, d.w, r, a, 0, aw, scratch[r*d.out:])
	} else {
		quant.MulT(p, d.w, r, a, 0, aw, scratch[r*d.out:])
	}
	gram := make([]float64, r*r)
	for i := range r {
		for j := range i + 1 {
			gram[i*r+j] = kernels.Dot(a[i*in:(i+1)*in], a[j*in:(j+1)*in])
			gram[j*r+i] = gram[i*r+j]
		}
	}
	for o := range d.out {
		row := b[o*r : (o+1)*r]
		cross, square := 0.0, 0.0
		for i, x := range row {
			cross += float64(x) * float64(aw[i*d.out+o])
			sum := 0.0
			for j, y := range row {
				sum += float64(gram[i*r+j] * float64(y))
			}
			square += float64(float64(x) * sum)
		}
		dst[o] = float32(math.Sqrt(max(0, d.own[o]+float64(2*scale*cross)+float64(scale*scale*square))))
	}
	return dst
}

// merge scales the rows of w = W + scale·B·A, or its columns when it is stored [in, out], to the magnitudes m.
func (d *dora) merge(w, m []float32, columns bool) {
	in := d.pair.a.Cols
	at := func(o, i int) int {
		if columns {
			return i*d.out + o
		}
		return o*in + i
	}
	for o := range d.out {
		sum := 0.0
		for i := range in {
			v := float64(w[at(o, i)])
			sum += float64(v * v)
		}
		f := float32(float64(m[o]) / math.Sqrt(sum))
		for i := range in {
			w[at(o, i)] *= f
		}
	}
}

// adaptDora wires the module s: the op without its bias, once of x and, with dropout, once of dropout(x), of which the part that the magnitudes change is
// taken.
func (l *lora) adaptDora(b *nn.Builder, s nn.Site, p *pair) nn.Ref {
	d := p.dora
	op := &doraOp{dora: d, scale: float32(p.scale), lookup: 1}
	if d.embedding {
		if o, ok := s.Op.(*nn.Embedding); ok {
			op.ids, op.lookup = func(w *nn.Work) []int32 { return w.Step.Tokens }, scaleOf(o.Scale)
		} else {
			op.ids = func(w *nn.Work) []int32 { return w.Step.Positions }
		}
		return b.Apply(op, l.extra.apply(b, s).Out, p.a.param(b), p.b.param(b), d.m.param(b))
	}
	lin := *s.Op.(*nn.Linear)
	op.bias, lin.Bias = lin.Bias, nil
	x := s.In[0]
	y := b.Apply(&lin, x)
	in := []nn.Ref{y, p.a.param(b), p.b.param(b), d.m.param(b), x}
	if l.cfg.LoraDropout > 0 && b.Mode() == nn.ModeTrain {
		in[4] = b.Apply(&nn.Dropout{P: float32(l.cfg.LoraDropout), Name: s.Name}, x)
		in = append(in, b.Apply(&lin, in[4]))
		op.dropped = true
	}
	if t := l.extra.at[s.Name]; t != nil && t.bias != nil {
		op.bias, op.trainBias = nil, true
		in = append(in, t.bias.param(b))
	}
	return b.Apply(op, in...)
}

// doraOp is out = y + (f-1)·y' + f·scale·u·Bᵀ + bias with f = m/‖W + scale·B·A‖. The inputs are y [T, out], the base's output without bias, the banks of A,
// B and m [1, out]; then, of a linear layer, x [T, in] with u = x·Aᵀ, y' = W·x where x is dropped out (else y' is y), and the bias where it is trained. Of
// an embedding u are the columns of A at the tokens. Segments of slot -1 have y + bias.
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
	take := func(n int) []float32 {
		x := s[:n:n]
		s = s[n:]
		return x
	}
	return &doraFactors{slot: -1, f: take(o.out), n: take(o.out), b: take(o.out * o.pair.r), work: take(o.dora.scratch()), scratch: s}
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

// rows runs f over the rows of a range in blocks.
func blocks(p *pool.Pool, start, end int, f func(t int)) {
	const block = 32
	p.Run((end-start+block-1)/block, func(i int) {
		for t := start + i*block; t < min(start+(i+1)*block, end); t++ {
			f(t)
		}
	})
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
		blocks(w.Pool, start, end, func(t int) {
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
		blocks(w.Pool, start, end, func(t int) {
			for k, dst := range [2][]float32{w.DIn[0], w.DIn[o.base()]} {
				if dst == nil || k == 1 && !o.dropped {
					continue
				}
				g, d := w.DOut[t*n:(t+1)*n], dst[t*n:(t+1)*n]
				for i, v := range g {
					f := fs.f[i]
					if o.dropped {
						f = float32(k)*f + float32(1-2*k) // y has 1, y' has f-1
					}
					d[i] += float32(f * v)
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

// gather copies the columns of a [r, n] at the ids of the rows from start to end to u [T, r].
func gather(u, a []float32, ids []int32, start, end, r, n int) {
	for t := start; t < end; t++ {
		for k := range r {
			u[t*r+k] = a[k*n+int(ids[t])]
		}
	}
}

// scatter adds the rows du [T, r] to the columns of da [r, n] at their ids.
func scatter(da, du []float32, ids []int32, start, end, r, n int) {
	for t := start; t < end; t++ {
		for k := range r {
			da[k*n+int(ids[t])] += du[t*r+k]
		}
	}
}

// unmergeable says why a merge cannot be undone: DoRA normalises the weights, and their lengths are gone.
func (l *lora) unmergeable() error {
	if l.cfg.UseDora {
		return fmt.Errorf("peft: DoRA normalises the weights, so the merged model does not hold the lengths of the base's any more; use the base model itself")
	}
	return nil
}
