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

// dora is DoRA at one module (Liu et al. 2024, arXiv:2402.09353): the rows of W + scale·B·A have the trained magnitudes m, which start at
// their norms: y = m/‖W + scale·B·A‖ · (W + scale·B·A)·x. As in the paper and in HF the norm carries no gradient. Of an embedding it is the
// columns.
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
	lay, _ := layoutOf(s.Op)
	d := &dora{pair: p, w: lay.W, out: p.b.Rows, embedding: lay.Lookup}
	switch {
	case s.Kind == nn.KindHead:
		return fmt.Errorf("peft: LORA: use_dora has no form for the %s %s here; leave it out of target_modules", s.Kind, s.Name)
	case lay.W == nil:
		d.w = quant.NewF32(lay.Rows, lay.Cols, lay.Values, lay.Cols, 1)
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

// norms writes the norms of the rows of W + scale·B·A to dst without making that matrix: ‖W_o‖² + 2·scale·B_o·(A·W_oᵀ) +
// scale²·B_o·(A·Aᵀ)·B_oᵀ.
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

// adaptDora wires the module s: the op without its bias, once of x and, with dropout, once of dropout(x), of which the part that the
// magnitudes change is taken.
func (l *lora) adaptDora(b *nn.Builder, s nn.Site, p *pair) nn.Ref {
	d := p.dora
	op := &doraOp{dora: d, scale: float32(p.scale), lookup: 1}
	if d.embedding {
		lay, _ := layoutOf(s.Op)
		op.lookup = lay.Scale
		op.ids = func(w *nn.Work) []int32 { return w.Step.Positions }
		if lay.Vocab {
			op.ids = func(w *nn.Work) []int32 { return w.Step.Tokens }
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
