package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/internal/torchrand"
	"github.com/adaptflow/adaptflow/nn"
)

// VeraConfig is HF's VeraConfig.
type VeraConfig struct {
	Common
	TargetFields
	LayerFields
	FanFields
	BiasFields
	R                 int     `json:"r"`
	ProjectionPRNGKey uint64  `json:"projection_prng_key"`
	SaveProjection    bool    `json:"save_projection"`
	VeraDropout       Float   `json:"vera_dropout"`
	DInitial          float64 `json:"d_initial"`
	InitWeights       bool    `json:"init_weights"`
}

// vera is VeRA (Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation", arXiv:2310.11454): all targets share frozen random matrices
// A [r, in] and B [out, r], cut to each target's size, and train two vectors: ΔW = diag(b)·B·diag(d)·A.
// Without save_projection the folder has only the vectors, and the matrices come from projection_prng_key as torch draws them.
type vera struct {
	mergeTuner
	cfg VeraConfig
}

func newVera() Method {
	v := &vera{cfg: VeraConfig{Common: newCommon("VERA"), BiasFields: BiasFields{"none"}, R: 256, SaveProjection: true, DInitial: 0.1, InitWeights: true}}
	v.method = "VERA"
	return v
}

func (v *vera) Config() any     { return &v.cfg }
func (v *vera) common() *Common { return &v.cfg.Common }

// Attach implements Method.
func (v *vera) Attach(sites []nn.Site, env Env) error {
	c := &v.cfg
	if err := firstError(atLeast("VERA", "r", c.R, 1), probability("VERA", "vera_dropout", c.VeraDropout)); err != nil {
		return err
	}
	var pa, pb *projection
	return v.attach(c, sites, env, func(t *target) error {
		if pa == nil {
			pa, pb = sharedProjections(&v.tuner, "vera", c.R, c.R, c.ProjectionPRNGKey, c.SaveProjection)
		}
		db, dd := zeros, constant(c.DInitial)
		if !c.InitWeights {
			db, dd = constant(1), normal(env.Seed, t.key("vera_lambda_d"), 1)
		}
		t.param("vera_lambda_b", db, t.out)
		t.param("vera_lambda_d", dd, c.R)
		t.form = scaledProjections(t, c.R, pa, pb, c.VeraDropout)
		return nil
	})
}

// sharedProjections are the frozen matrices A [rowsA, in] and B [out, r] of VeRA's kind, for the largest target: He-uniform numbers of
// torch's generator.
func sharedProjections(u *tuner, name string, rowsA, r int, seed uint64, save bool) (a, b *projection) {
	out, in := u.largest()
	both := func() (x, y []float32) {
		g := torchrand.New(seed)
		x, y = make([]float32, rowsA*in), make([]float32, out*r)
		bound := kaimingBound(in, 0)
		g.Uniform(x, -bound, bound)
		bound = kaimingBound(r, 0)
		g.Uniform(y, -bound, bound)
		return x, y
	}
	a = newProjection(func() []float32 { x, _ := both(); return x }, rowsA, in)
	b = newProjection(func() []float32 { _, y := both(); return y }, out, r)
	if save {
		u.frozen = append(u.frozen, a.frozen("base_model."+name+"_A", true), b.frozen("base_model."+name+"_B", true))
	}
	return a, b
}

// scaledProjections is the form ΔW = diag(λb)·B·diag(λd)·A, the parameters being λb [out] and λd, of which the first r are used.
func scaledProjections(t *target, r int, pa, pb *projection, dropout Float) *factors {
	return &factors{r: r, scale: 1, dropout: dropout,
		make: func(p [][]float32, a, b []float32) {
			full := pa.shape[1]
			for k := range r {
				row, d := pa.values()[k*full:], p[1][k]
				for i := range t.in {
					a[k*t.in+i] = d * row[i]
				}
			}
			for o := range t.out {
				for k, x := range pb.values()[o*r : (o+1)*r] {
					b[o*r+k] = p[0][o] * x
				}
			}
		},
		grad: func(p, dp [][]float32, a, b, da, db []float32) {
			full := pa.shape[1]
			for k := 0; dp[1] != nil && k < r; k++ {
				sum, row := 0.0, pa.values()[k*full:]
				for i, g := range da[k*t.in : (k+1)*t.in] {
					sum += float64(g) * float64(row[i])
				}
				dp[1][k] += float32(sum)
			}
			for o := 0; dp[0] != nil && o < t.out; o++ {
				sum := 0.0
				for k, x := range pb.values()[o*r : (o+1)*r] {
					sum += float64(db[o*r+k]) * float64(x)
				}
				dp[0][o] += float32(sum)
			}
		}}
}

// constant starts a parameter at one value.
func constant(v float64) func([]float32) {
	return func(d []float32) {
		for i := range d {
			d[i] = float32(v)
		}
	}
}

// kaimingBound is the bound of torch's kaiming_uniform_ with slope a.
func kaimingBound(fanIn int, a float64) float64 {
	return math.Sqrt(3) * (math.Sqrt(2/(1+a*a)) / math.Sqrt(float64(fanIn)))
}
