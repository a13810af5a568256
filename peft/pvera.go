package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// PveraConfig is HF's PveraConfig.
type PveraConfig struct {
	Common
	TargetFields
	LayerFields
	FanFields
	BiasFields
	R                 int     `json:"r"`
	ProjectionPRNGKey uint64  `json:"projection_prng_key"`
	SaveProjection    bool    `json:"save_projection"`
	PveraDropout      Float   `json:"pvera_dropout"`
	DInitial          float64 `json:"d_initial"`
	InitWeights       bool    `json:"init_weights"`
	SampleAtInference bool    `json:"sample_at_inference"`
	GeneratorSeed     *uint64 `json:"generator_seed"`
}

// pvera is PVeRA, the probabilistic form of VeRA (Fillioux et al. 2025, "PVeRA: Probabilistic Vector-Based Random Matrix Adaptation",
// arXiv:2512.07703): with A [2r, in], (μ, log σ²) = d ⊙ (A·x) and y = W·x + b ⊙ (B·z), z = μ + σ·ε. ε is normal in training, and with
// sample_at_inference always; else z = μ. The numbers ε are counter-based, keyed by generator_seed or the run's seed.
type pvera struct {
	mergeTuner
	cfg PveraConfig
}

func newPvera() Method {
	v := &pvera{cfg: PveraConfig{Common: newCommon("PVERA"), BiasFields: BiasFields{"none"}, R: 256, SaveProjection: true, DInitial: 0.1,
		InitWeights: true}}
	v.method = "PVERA"
	return v
}

func (v *pvera) Config() any { return &v.cfg }

// Attach implements Method.
func (v *pvera) Attach(sites []nn.Site, env Env) error {
	c := &v.cfg
	if err := firstError(atLeast("PVERA", "r", c.R, 1), probability("PVERA", "pvera_dropout", c.PveraDropout)); err != nil {
		return err
	}
	if c.InitWeights { // the other vector starts at 0
		if err := effective("PVERA", "d_initial", c.DInitial); err != nil {
			return err
		}
	}
	var pa, pb *projection
	return v.attach(c, sites, env, func(t *target) error {
		if pa == nil {
			pa, pb = sharedProjections(&v.tuner, "pvera", 2*c.R, c.R, c.ProjectionPRNGKey, c.SaveProjection)
		}
		db, dd := zeros, constant(c.DInitial)
		if !c.InitWeights {
			db, dd = constant(1), normal(env.Seed, t.key("pvera_lambda_d"), 1)
		}
		t.param("pvera_lambda_b", db, t.out)
		t.param("pvera_lambda_d", dd, 2*c.R)
		t.form = &pveraForm{factors: scaledProjections(t, c.R, pa, pb, c.PveraDropout), cfg: c, a: pa, b: pb}
		return nil
	})
}

// pveraForm merges like VeRA, by the mean.
type pveraForm struct {
	*factors
	cfg  *PveraConfig
	a, b *projection
}

func (f *pveraForm) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	op := &pveraOp{form: f, name: s.Name, in: t.in, out: t.out, r: f.r, banks: newBanks(t.sizes())}
	return b.Apply(op, append([]nn.Ref{s.Out, dropped(b, s.Name, f.dropout, s.In[0])}, t.refs(b)...)...)
}

func (f *pveraForm) merge(t *target, p [][]float32, w, bias []float32) error {
	if f.cfg.SampleAtInference {
		return fmt.Errorf("peft: PVERA: an adapter with sample_at_inference is random and cannot be merged; set it to false to merge the " +
			"mean")
	}
	return f.factors.merge(t, p, w, bias)
}

// pveraOp has the inputs y [T, out], x [T, in], λb [out] and λd [2r]. It saves A·x [T, 2r].
type pveraOp struct {
	form       *pveraForm
	name       string
	in, out, r int
	banks      banks
}

// Plan implements nn.Op.
func (o *pveraOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	rows := in[1]
	return nn.Plan{Out: in[0], ReadsIn: []bool{false, false, true, true}, Pass: []bool{true, false, false, false},
		InPlace: []bool{true, false, false, false}, Saved: []nn.Shape{{Rows: rows.Rows, Count: rows.Count, Cols: 2 * o.r}},
		Scratch: func(c nn.Caps, _ int) int { return rows.At(c)*(3*o.r+o.out) + 2*o.r }}
}

// noise writes ε [T, r], zeros where nothing is drawn.
func (o *pveraOp) noise(w *nn.Work, eps []float32) {
	clear(eps)
	if !w.Training && !o.form.cfg.SampleAtInference {
		return
	}
	seed := w.Seed
	if o.form.cfg.GeneratorSeed != nil {
		seed = *o.form.cfg.GeneratorSeed
	}
	key := philox.NewKey(seed, "pvera", o.name)
	s := w.Step
	for i, doc := range s.Docs {
		hi := s.DocID(i) ^ s.Index*0x9E3779B97F4A7C15
		for t := int(doc.Start); t < int(doc.End); t++ {
			for c := range o.r {
				q := key.At(hi, uint64(uint32(s.Positions[t]))<<32|uint64(c))
				u := 1 - philox.Uniform64(q[0], q[1])
				eps[t*o.r+c] = float32(math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*philox.Uniform64(q[2], q[3])))
			}
		}
	}
}

func (o *pveraOp) sampled(w *nn.Work) bool { return w.Training || o.form.cfg.SampleAtInference }

// ByText implements nn.Textual: the noise is of documents.
func (o *pveraOp) ByText(training bool) bool { return training || o.form.cfg.SampleAtInference }

// sigma is the standard deviation, from log σ².
func sigma(logVar float32) float32 { return kernels.Exp(0.5 * logVar) }

// latent writes z [n, r] of the rows from start on.
func (o *pveraOp) latent(w *nn.Work, start, end int, d, h, eps, z []float32) {
	for t := start; t < end; t++ {
		for k := range o.r {
			z[t*o.r+k] = d[k] * h[t*2*o.r+k]
			if o.sampled(w) {
				z[t*o.r+k] += float32(eps[t*o.r+k] * sigma(d[o.r+k]*h[t*2*o.r+o.r+k]))
			}
		}
	}
}

// Forward implements nn.Op.
func (o *pveraOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	rows := len(w.Out) / o.out
	eps, z, y := w.Scratch[:rows*o.r], w.Scratch[rows*o.r:2*rows*o.r], w.Scratch[3*rows*o.r:]
	o.noise(w, eps)
	h, full := w.Saved[0], o.form.a.shape[1]
	clear(h)
	for _, s := range w.Segments() {
		if s.Slot < 0 || s.Start == s.End {
			continue
		}
		p, n := o.banks.values(w.In[2:], s.Slot), s.End-s.Start
		kernels.Gemm(w.Pool, n, 2*o.r, o.in, 1, w.In[1][s.Start*o.in:], o.in, 1, o.form.a.values(), 1, full, 0, h[s.Start*2*o.r:], 2*o.r)
		o.latent(w, s.Start, s.End, p[1], h, eps, z)
		kernels.Gemm(w.Pool, n, o.out, o.r, 1, z[s.Start*o.r:], o.r, 1, o.form.b.values(), 1, o.r, 0, y, o.out)
		for t := range n {
			for c, b := range p[0] {
				w.Out[(s.Start+t)*o.out+c] += float32(b * y[t*o.out+c])
			}
		}
	}
}

// Backward implements nn.Op.
func (o *pveraOp) Backward(w *nn.Work) {
	rows := len(w.DOut) / o.out
	if rows == 0 {
		return
	}
	eps, z, dz := w.Scratch[:rows*o.r], w.Scratch[rows*o.r:2*rows*o.r], w.Scratch[2*rows*o.r:3*rows*o.r]
	y := w.Scratch[3*rows*o.r:]
	o.noise(w, eps)
	h, full := w.Saved[0], o.form.a.shape[1]
	for _, s := range w.Segments() {
		if s.Slot < 0 || s.Start == s.End {
			continue
		}
		p, n := o.banks.values(w.In[2:], s.Slot), s.End-s.Start
		dp := o.banks.grads(w.DIn[2:], s.Slot)
		d := p[1]
		o.latent(w, s.Start, s.End, d, h, eps, z)
		if dp[0] != nil { // dλb = Σ dy ⊙ B·z
			kernels.Gemm(w.Pool, n, o.out, o.r, 1, z[s.Start*o.r:], o.r, 1, o.form.b.values(), 1, o.r, 0, y, o.out)
			for t := range n {
				for c := range o.out {
					dp[0][c] += float32(w.DOut[(s.Start+t)*o.out+c] * y[t*o.out+c])
				}
			}
		}
		for t := range n { // dz = (dy ⊙ λb)·B
			for c, b := range p[0] {
				y[t*o.out+c] = b * w.DOut[(s.Start+t)*o.out+c]
			}
		}
		kernels.Gemm(w.Pool, n, o.r, o.out, 1, y, o.out, 1, o.form.b.values(), o.r, 1, 0, dz[s.Start*o.r:], o.r)
		// dλd and the gradient of A·x, one row at a time in place of a matrix of its own.
		row := w.Scratch[3*rows*o.r+rows*o.out:][:2*o.r]
		for t := s.Start; t < s.End; t++ {
			for k := range o.r {
				g, hm, hs := dz[t*o.r+k], h[t*2*o.r+k], h[t*2*o.r+o.r+k]
				gs := float32(0)
				if o.sampled(w) {
					gs = 0.5 * g * eps[t*o.r+k] * sigma(d[o.r+k]*hs)
				}
				if dp[1] != nil {
					dp[1][k] += float32(g * hm)
					dp[1][o.r+k] += float32(gs * hs)
				}
				row[k], row[o.r+k] = g*d[k], gs*d[o.r+k]
			}
			if w.DIn[1] != nil { // dx = dh·A
				kernels.Gemm(nil, 1, o.in, 2*o.r, 1, row, 2*o.r, 1, o.form.a.values(), full, 1, 1, w.DIn[1][t*o.in:], o.in)
			}
		}
	}
}
