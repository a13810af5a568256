package peft

import (
	"github.com/adaptflow/adaptflow/nn"
)

// HRAConfig is HF's HRAConfig.
type HRAConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	BiasFields
	R           int  `json:"r"`
	ApplyGS     bool `json:"apply_GS"`
	InitWeights bool `json:"init_weights"`
}

// hra is Householder reflection adaptation (Yuan et al. 2024, "Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder
// Reflection Adaptation", arXiv:2405.17484): y = W·H·x + b with H = Π (I - 2·u_i·u_iᵀ), u_i the columns of hra_u [in, r] at length 1. With
// apply_GS the u_i are made orthogonal first (Gram and Schmidt). The product is computed as H = I - U·M·Uᵀ, two products of r columns,
// where M [r, r] follows from S = UᵀU: M⁻¹ = striu(S) + I/2 (the compact WY form), and (S/2)⁻¹ with apply_GS, because only the span counts
// then. Columns start in equal pairs, whose reflections cancel.
type hra struct {
	mergeTuner
	cfg HRAConfig
}

func newHRA() Method {
	m := &hra{cfg: HRAConfig{Common: newCommon("HRA"), BiasFields: BiasFields{Bias: "none"}, R: 8, InitWeights: true}}
	m.method = "HRA"
	return m
}

func (m *hra) Config() any { return &m.cfg }

// Attach implements Method.
func (m *hra) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if err := atLeast("HRA", "r", c.R, 1); err != nil {
		return err
	}
	return m.attach(c, sites, env, func(t *target) error {
		if err := rankFits("HRA", "r", c.R, t.in, t.in, t.name); err != nil {
			return err
		}
		// torch's fan-in of a matrix [in, r] is r. Equal columns have no place in an orthogonal system, so with apply_GS none are paired.
		columns, pair := c.R, 1
		if c.InitWeights && c.R%2 == 0 && !c.ApplyGS {
			columns, pair = c.R/2, 2
		}
		fill := uniform(env.Seed, t.key("hra_u"), columns)
		t.param("hra_u", func(d []float32) {
			u := make([]float32, t.in*columns)
			fill(u)
			for i := range d {
				d[i] = u[i/c.R*columns+i%c.R/pair]
			}
		}, t.in, c.R)
		h := &householder{in: t.in, r: c.R, gs: c.ApplyGS}
		t.form = &inputTransform{transform: h.transform(), fold: h.fold, unfold: h.unfold}
		return nil
	})
}
