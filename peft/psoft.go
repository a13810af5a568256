package peft

import (
	"fmt"
	"math"

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

// psoft is PSOFT (Wu et al. 2025, "Efficient Orthogonal Fine-Tuning with Principal Subspace Adaptation", openreview FSHrinMArK): y = W·x + (alpha/r)·B·(R - I)·A·x + b, where B·A is the part of W
// of its r largest singular values, over alpha/r, and stays; R = diag(b)·Q·diag(a) is trained, Q a rotation by Cayley's map (psoft_orth) or any matrix, and
// b, a vectors that start at 1 (psoft_mag_b, psoft_mag_a).
//
// A and B are not in the folder: who opens it decomposes W again, exactly or (psoft_svd: lowrank) by random_seed and psoft_svd_lowrank_niter subspace iterations. Singular vectors have a free sign, which LAPACK leaves to its
// implementation, so that HF PEFT itself does not repeat its numbers on another one; here the largest entry of a row of A is positive.
type psoft struct {
	mergeTuner
	cfg  PsoftConfig
	seen map[string]*principal
}

func newPsoft() Method {
	m := &psoft{cfg: PsoftConfig{Common: newCommon("PSOFT"), R: 32, Alpha: 32, ABInit: "psoft_init", SVD: "full", SVDIterations: 10, Orth: true, MagB: true,
		MagA: true, NumCayleyNeumannTerms: 5, InitWeights: true}}
	m.method = "PSOFT"
	return m
}

func (m *psoft) Config() any     { return &m.cfg }
func (m *psoft) common() *Common { return &m.cfg.Common }

func (m *psoft) validate() error {
	c := &m.cfg
	if err := firstError(atLeast("PSOFT", "r", c.R, 1), probability("PSOFT", "psoft_dropout", c.Dropout), atLeast("PSOFT", "psoft_alpha", c.Alpha, 1)); err != nil {
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
		p := &principal{r: r, in: t.in, out: t.out, scale: float64(c.Alpha) / float64(r), symmetric: c.ABInit == "pissa_init", vb: -1, va: -1}
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

// principal is what PSOFT has at one layer: the frozen A [r, in] and B [out, r], and R [r, r] from the parameters.
type principal struct {
	r, in, out int
	scale      float64
	symmetric  bool     // both have the root of the singular values
	rot        *cayley  // nil for a free matrix
	eps        *float64 // bound of the norm of Q
	vb, va     int      // places of the vectors, -1 for none
	decompose  func()
	a, b       []float32
}

// set makes A and B of the singular values and vectors.
func (p *principal) set(d *svd) {
	p.a, p.b = make([]float32, p.r*p.in), make([]float32, p.out*p.r)
	for k, s := range d.s {
		largest := 0.0
		for j := range p.in { // of equal ones the first, whatever the last places are
			if x := d.v.At(j, k); math.Abs(x) > math.Abs(largest)*(1+1e-6) {
				largest = x
			}
		}
		left, right := math.Copysign(1, largest), math.Copysign(s/p.scale, largest)
		if p.symmetric {
			root := math.Sqrt(s / p.scale)
			left, right = math.Copysign(root, largest), math.Copysign(root, largest)
		}
		for j := range p.in {
			p.a[k*p.in+j] = float32(left * d.v.At(j, k))
		}
		for i := range p.out {
			p.b[i*p.r+k] = float32(right * d.u.At(i, k))
		}
	}
}

// theta is the triangle of Q, kept within eps, and the factor that did so.
func (p *principal) theta(v []float32) ([]float32, float64) {
	if p.eps == nil {
		return v, 1
	}
	sum := 0.0
	for _, x := range v {
		sum += 2 * float64(x) * float64(x)
	}
	norm := math.Sqrt(sum)
	if norm <= *p.eps {
		return v, 1
	}
	f := *p.eps / (norm + 1e-12)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(f * float64(x))
	}
	return out, f
}

// matrix is Q, before the vectors.
func (p *principal) matrix(v []float32) []float32 {
	if p.rot == nil {
		return v
	}
	q := make([]float32, p.r*p.r)
	th, _ := p.theta(v)
	p.rot.rotate(q, th)
	return q
}

// vector is entry i of the parameter at, 1 where there is none.
func vector(p [][]float32, at, i int) float32 {
	if at < 0 {
		return 1
	}
	return p[at][i]
}

// make writes A and B·(R - I).
func (p *principal) make(v [][]float32, a, b []float32) {
	if p.a == nil {
		p.decompose()
	}
	copy(a, p.a)
	r := p.r
	q := p.matrix(v[0])
	m := make([]float32, r*r)
	for i := range r {
		for j := range r {
			m[i*r+j] = vector(v, p.vb, i) * q[i*r+j] * vector(v, p.va, j)
		}
		m[i*r+i]--
	}
	product(nil, b, p.b, m, p.out, r, r, 1)
}

// grad takes the gradient of B·(R - I); A has none.
func (p *principal) grad(v, dp [][]float32, _, _, _, db []float32) {
	r := p.r
	dr := make([]float32, r*r)
	productGrad(nil, db, p.b, nil, nil, dr, p.out, r, r)
	q := p.matrix(v[0])
	dq := make([]float32, r*r)
	for i := range r {
		for j := range r {
			b, a, g := vector(v, p.vb, i), vector(v, p.va, j), dr[i*r+j]
			dq[i*r+j] = g * b * a
			if p.vb >= 0 && dp[p.vb] != nil {
				dp[p.vb][i] += float32(g * q[i*r+j] * a)
			}
			if p.va >= 0 && dp[p.va] != nil {
				dp[p.va][j] += float32(g * q[i*r+j] * b)
			}
		}
	}
	if dp[0] == nil {
		return
	}
	if p.rot == nil {
		for i, g := range dq {
			dp[0][i] += g
		}
		return
	}
	th, f := p.theta(v[0])
	if f == 1 {
		p.rot.rotateBack(dp[0], th, dq)
		return
	}
	dth := make([]float32, len(th)) // theta = v·eps/(|v|+1e-12), |v| with both triangles
	p.rot.rotateBack(dth, th, dq)
	norm := *p.eps/f - 1e-12
	dot := 0.0
	for i, g := range dth {
		dot += float64(g) * float64(v[0][i])
	}
	for i, g := range dth {
		dp[0][i] += float32(f*float64(g) - dot*f/(norm+1e-12)*2*float64(v[0][i])/norm)
	}
}
