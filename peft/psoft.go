package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/nn"
)

// PsoftConfig is HF's PsoftConfig.
type PsoftConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	FanFields
	R                     int      `json:"r"`
	Alpha                 int      `json:"psoft_alpha"`
	Dropout               Float    `json:"psoft_dropout"`
	ABInit                string   `json:"ab_svd_init"`
	SVD                   string   `json:"psoft_svd"`
	SVDIterations         int      `json:"psoft_svd_lowrank_niter"`
	RandomSeed            int      `json:"random_seed"`
	Orth                  bool     `json:"psoft_orth"`
	MagB                  bool     `json:"psoft_mag_b"`
	MagA                  bool     `json:"psoft_mag_a"`
	UseCayleyNeumann      bool     `json:"use_cayley_neumann"`
	NumCayleyNeumannTerms int      `json:"num_cayley_neumann_terms"`
	CayleyNeumannEps      *float64 `json:"cayley_neumann_eps"`
	InitWeights           bool     `json:"init_weights"`
}

// psoft is PSOFT (Wu et al. 2025, "Efficient Orthogonal Fine-Tuning with Principal Subspace Adaptation", openreview FSHrinMArK): y = W·x +
// (alpha/r)·B·(R - I)·A·x + b, where B·A is the part of W of its r largest singular values, over alpha/r, and stays; R = diag(b)·Q·diag(a)
// is trained, Q a rotation by Cayley's map (psoft_orth) or any matrix, and b, a vectors that start at 1 (psoft_mag_b, psoft_mag_a).
//
// A and B are not in the folder: who opens it decomposes W again, exactly or (psoft_svd: lowrank) by random_seed and
// psoft_svd_lowrank_niter subspace iterations. Singular vectors have a free sign, which LAPACK leaves to its implementation, so that HF
// PEFT itself does not repeat its numbers on another one; here the largest entry of a row of A is positive.
type psoft struct {
	mergeTuner
	cfg  PsoftConfig
	seen map[string]*principal
}

func newPsoft() Method {
	m := &psoft{cfg: PsoftConfig{Common: newCommon("PSOFT"), R: 32, Alpha: 32, ABInit: "psoft_init", SVD: "full", SVDIterations: 10,
		Orth: true, MagB: true,
		MagA: true, NumCayleyNeumannTerms: 5, InitWeights: true}}
	m.method = "PSOFT"
	return m
}

func (m *psoft) Config() any { return &m.cfg }

func (m *psoft) validate() error {
	c := &m.cfg
	if err := firstError(atLeast("PSOFT", "r", c.R, 1), probability("PSOFT", "psoft_dropout", c.Dropout),
		atLeast("PSOFT", "psoft_alpha", c.Alpha, 1)); err != nil {
		return err
	}
	switch {
	case c.ABInit != "psoft_init" && c.ABInit != "pissa_init":
		return fmt.Errorf("peft: PSOFT: ab_svd_init = %q; it must be \"psoft_init\" or \"pissa_init\"", c.ABInit)
	case c.SVD != "full" && c.SVD != "lowrank":
		return fmt.Errorf("peft: PSOFT: psoft_svd = %q; it must be \"full\" or \"lowrank\"", c.SVD)
	case c.UseCayleyNeumann && c.NumCayleyNeumannTerms < 1:
		return fmt.Errorf("peft: PSOFT: num_cayley_neumann_terms = %d; it must be at least 1", c.NumCayleyNeumannTerms)
	case c.UseCayleyNeumann && c.CayleyNeumannEps != nil && !(*c.CayleyNeumannEps > 0 && *c.CayleyNeumannEps < 1):
		return fmt.Errorf("peft: PSOFT: cayley_neumann_eps = %g; it must be in (0, 1)", *c.CayleyNeumannEps)
	}
	return nil
}

// Attach implements Method.
func (m *psoft) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if err := m.validate(); err != nil {
		return err
	}
	m.seen = map[string]*principal{}
	return m.attach(c, sites, env, func(t *target) error {
		if err := onlyLinear(t, "PSOFT"); err != nil {
			return err
		}
		r := c.R
		if r > min(t.in, t.out) {
			return fmt.Errorf("peft: PSOFT: r = %d, but %s is [%d, %d]; r must be at most %d", r, t.name, t.out, t.in, min(t.in, t.out))
		}
		p := &principal{r: r, in: t.in, out: t.out, scale: float64(c.Alpha) / float64(r),
			symmetric: c.ABInit == "pissa_init", vb: -1, va: -1}
		m.seen[t.name] = p
		key := t.key("psoft_R.weight")
		if c.Orth {
			init := zeros
			if !c.InitWeights {
				init = normal(env.Seed, key, 0.1)
			}
			t.param("psoft_R.weight", init, r*(r-1)/2)
			terms := 0
			if c.UseCayleyNeumann {
				terms = c.NumCayleyNeumannTerms
				p.eps = c.CayleyNeumannEps
			}
			p.rot = newCayley(r, terms, true)
		} else {
			noise := normal(env.Seed, key, 0.1)
			t.param("psoft_R.weight", func(d []float32) {
				if !c.InitWeights {
					noise(d)
				}
				for i := range r {
					d[i*r+i]++
				}
			}, r, r)
		}
		if c.MagB {
			p.vb = len(t.params)
			t.param("psoft_R.vector_b", ones, r)
		}
		if c.MagA {
			p.va = len(t.params)
			t.param("psoft_R.vector_a", ones, r)
		}
		p.decompose = func() {
			w := make([]float32, t.out*t.in)
			t.weight(w)
			iterations := -1 // exact
			if c.SVD == "lowrank" {
				iterations = max(c.SVDIterations, 0)
			}
			p.set(svdOf(t.out, t.in, w, r, iterations, philox.NewKey(uint64(c.RandomSeed), "psoft", "svd_lowrank")))
		}
		t.form = &factors{r: r, scale: float32(p.scale), dropout: c.Dropout, make: p.make, grad: p.grad}
		return nil
	})
}
