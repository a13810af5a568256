package peft

import (
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

// vera is VeRA (Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation", arXiv:2310.11454): all targets share frozen random
// matrices A [r, in] and B [out, r], cut to each target's size, and train two vectors: ΔW = diag(b)·B·diag(d)·A. Without save_projection
// the folder has only the vectors, and the matrices come from projection_prng_key as torch draws them.
type vera struct {
	mergeTuner
	cfg VeraConfig
}

func newVera() Method {
	v := &vera{cfg: VeraConfig{Common: newCommon("VERA"), BiasFields: BiasFields{"none"}, R: 256, SaveProjection: true, DInitial: 0.1,
		InitWeights: true}}
	v.method = "VERA"
	return v
}

func (v *vera) Config() any { return &v.cfg }

// Attach implements Method.
func (v *vera) Attach(sites []nn.Site, env Env) error {
	c := &v.cfg
	if err := firstError(atLeast("VERA", "r", c.R, 1), probability("VERA", "vera_dropout", c.VeraDropout)); err != nil {
		return err
	}
	if c.InitWeights { // the other vector starts at 0
		if err := effective("VERA", "d_initial", c.DInitial); err != nil {
			return err
		}
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
