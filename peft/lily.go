package peft

import (
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// LilyConfig is HF's LilyConfig.
type LilyConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	R           int   `json:"r"`
	StrideA     int   `json:"stride_A"`
	NumB        int   `json:"num_B"`
	Scaling     Float `json:"scaling"`
	InitWeights bool  `json:"init_weights"`
}

// lily is Lily (Zhong et al. 2024, "Low-Rank Interconnected Adaptation across Layers", arXiv:2407.09946): stride_A neighbouring layers
// share A [r, in], all layers share num_B experts B_e [r, out], and a router of each layer mixes them: with h = A·x and p = softmax(R·h), y
// = W·x + scaling·h·Σ_e p̄_e·B_e. As in the reference p̄ is the mean of p over all tokens of the batch, so that the result for a document
// depends on the others beside it: one adapter a step, and no merging.
type lily struct {
	tuner
	cfg LilyConfig
}

func newLily() Method {
	l := &lily{cfg: LilyConfig{Common: newCommon("LILY"), R: 32, StrideA: 1, NumB: 2, Scaling: 1, InitWeights: true}}
	l.method, l.oneSlot = "LILY", true
	return l
}

func (l *lily) Config() any { return &l.cfg }

// Attach implements Method.
func (l *lily) Attach(sites []nn.Site, env Env) error {
	c := &l.cfg
	if err := firstError(atLeast("LILY", "r", c.R, 1), atLeast("LILY", "stride_A", c.StrideA, 1), atLeast("LILY", "num_B", c.NumB, 1),
		effective("LILY", "scaling", float64(c.Scaling))); err != nil {
		return err
	}
	type kind struct {
		suffix  string
		out, in int
	}
	leaders, count := map[kind]*target{}, map[kind]int{}
	last := map[kind]*Param{} // the A of the current group
	return l.attach(c, sites, env, func(t *target) error {
		if err := rankFits("LILY", "r", c.R, t.in, t.out, t.name); err != nil {
			return err
		}
		k := kind{c.TargetModules.Pattern, t.out, t.in}
		for _, s := range c.TargetModules.List {
			if strings.HasSuffix(t.name, s) && len(s) > len(k.suffix) {
				k.suffix = s
			}
		}
		i := count[k]
		count[k]++
		if i%c.StrideA == 0 {
			last[k] = t.param("lily_A.weight", uniform(env.Seed, t.key("lily_A.weight"), t.in), c.R, t.in)
		} else {
			last[k].Also = append(last[k].Also, t.key("lily_A.weight"))
			t.params = append(t.params, last[k])
		}
		if lead := leaders[k]; lead == nil {
			start := zeros
			if !c.InitWeights {
				start = uniform(env.Seed, t.key("lily_B.weight"), t.out)
			}
			t.param("lily_B.weight", start, c.NumB*c.R, t.out)
			leaders[k] = t
		} else {
			b := lead.params[1]
			b.Also = append(b.Also, t.key("lily_B.weight"))
			t.params = append(t.params, b)
		}
		t.param("lily_router.weight", uniform(env.Seed, t.key("lily_router.weight"), c.R), c.NumB, c.R)
		t.form = &lilyForm{r: c.R, experts: c.NumB, scale: float32(c.Scaling)}
		return nil
	})
}

type lilyForm struct {
	r, experts int
	scale      float32
}

func (f *lilyForm) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	return b.Apply(&lilyOp{lilyForm: *f, in: t.in, out: t.out}, append([]nn.Ref{s.Out, s.In[0]}, t.refs(b)...)...)
}

// lilyOp has the inputs y [T, out], x [T, in], A [r, in], B [experts·r, out] and the router R [experts, r]. It saves h [T, r] and p [T,
// experts].
type lilyOp struct {
	lilyForm
	in, out int
	mean    []float64
}

// Plan implements nn.Op.
func (o *lilyOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	rows := in[1]
	shape := func(cols int) nn.Shape { return nn.Shape{Rows: rows.Rows, Count: rows.Count, Cols: cols} }
	o.mean = make([]float64, o.experts)
	return nn.Plan{Out: in[0], ReadsIn: []bool{false, true, true, true, true}, Pass: []bool{true, false, false, false, false},
		InPlace: []bool{true, false, false, false, false}, Saved: []nn.Shape{shape(o.r), shape(o.experts)},
		Scratch: func(c nn.Caps, _ int) int { return rows.At(c)*(o.r+o.experts) + 2*o.r*o.out }}
}

// active says whether the step uses the adapter, which is in slot 0 or in none.
func (o *lilyOp) active(w *nn.Work) bool {
	return len(w.Step.Tokens) > 0 && !slices.ContainsFunc(w.Segments(), func(s nn.Segment) bool { return s.Slot != 0 && s.Start < s.End })
}

// mixed writes Σ_e p̄_e·B_e [r, out].
func (o *lilyOp) mixed(w *nn.Work, dst []float32) {
	p := w.Saved[1]
	clear(o.mean)
	for i, x := range p {
		o.mean[i%o.experts] += float64(x)
	}
	clear(dst)
	for e := range o.experts {
		o.mean[e] /= float64(len(p) / o.experts)
		kernels.Axpy(w.Pool, float32(o.mean[e]), w.In[3][e*len(dst):(e+1)*len(dst)], dst)
	}
}

// Forward implements nn.Op.
func (o *lilyOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	if !o.active(w) {
		return
	}
	n, h, p := len(w.Step.Tokens), w.Saved[0], w.Saved[1]
	kernels.Gemm(w.Pool, n, o.r, o.in, 1, w.In[1], o.in, 1, w.In[2], 1, o.in, 0, h, o.r)
	kernels.Gemm(w.Pool, n, o.experts, o.r, 1, h, o.r, 1, w.In[4], 1, o.r, 0, p, o.experts)
	for t := range n {
		row := p[t*o.experts : (t+1)*o.experts]
		top, sum := slices.Max(row), 0.0
		for e, x := range row {
			v := math.Exp(float64(x - top))
			row[e] = float32(v)
			sum += v
		}
		for e := range row {
			row[e] = float32(float64(row[e]) / sum)
		}
	}
	b := w.Scratch[:o.r*o.out]
	o.mixed(w, b)
	kernels.Gemm(w.Pool, n, o.out, o.r, o.scale, h, o.r, 1, b, o.out, 1, 1, w.Out, o.out)
}

// Backward implements nn.Op.
func (o *lilyOp) Backward(w *nn.Work) {
	if len(w.DOut) == 0 || !o.active(w) {
		return
	}
	n, h, p, size := len(w.Step.Tokens), w.Saved[0], w.Saved[1], o.r*o.out
	b, db := w.Scratch[:size], w.Scratch[size:2*size]
	dh, dp := w.Scratch[2*size:2*size+n*o.r], w.Scratch[2*size+n*o.r:2*size+n*(o.r+o.experts)]
	o.mixed(w, b)
	kernels.Gemm(w.Pool, n, o.r, o.out, o.scale, w.DOut, o.out, 1, b, 1, o.out, 0, dh, o.r)
	kernels.Gemm(w.Pool, o.r, o.out, n, o.scale, h, 1, o.r, w.DOut, o.out, 1, 0, db, o.out)
	for e := range o.experts {
		be := w.In[3][e*size : (e+1)*size]
		g := float32(kernels.Dot(db, be) / float64(n)) // of each token's p_e
		if w.DIn[3] != nil {
			kernels.Axpy(w.Pool, float32(o.mean[e]), db, w.DIn[3][e*size:(e+1)*size])
		}
		for t := range n {
			dp[t*o.experts+e] = g
		}
	}
	for t := range n { // through the softmax
		row, d := p[t*o.experts:(t+1)*o.experts], dp[t*o.experts:(t+1)*o.experts]
		sum := float32(0)
		for e, x := range row {
			sum += float32(x * d[e])
		}
		for e, x := range row {
			d[e] = x * (d[e] - sum)
		}
	}
	kernels.Gemm(w.Pool, n, o.r, o.experts, 1, dp, o.experts, 1, w.In[4], o.r, 1, 1, dh, o.r)
	if w.DIn[4] != nil {
		kernels.Gemm(w.Pool, o.experts, o.r, n, 1, dp, 1, o.experts, h, o.r, 1, 1, w.DIn[4], o.r)
	}
	if w.DIn[2] != nil {
		kernels.Gemm(w.Pool, o.r, o.in, n, 1, dh, 1, o.r, w.In[1], o.in, 1, 1, w.DIn[2], o.in)
	}
	if w.DIn[1] != nil {
		kernels.Gemm(w.Pool, n, o.in, o.r, 1, dh, o.r, 1, w.In[2], o.in, 1, 1, w.DIn[1], o.in)
	}
}
