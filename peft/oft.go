package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// OFTConfig is HF's OFTConfig.
type OFTConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	BiasFields
	FanFields
	R                     int   `json:"r"`
	OFTBlockSize          int   `json:"oft_block_size"`
	ModuleDropout         Float `json:"module_dropout"`
	InitWeights           bool  `json:"init_weights"`
	COFT                  bool  `json:"coft"`
	Eps                   Float `json:"eps"`
	BlockShare            bool  `json:"block_share"`
	UseCayleyNeumann      bool  `json:"use_cayley_neumann"`
	NumCayleyNeumannTerms int   `json:"num_cayley_neumann_terms"`
}

// oft is orthogonal fine-tuning (Qiu et al. 2023, "Controlling Text-to-Image Diffusion by Orthogonal Finetuning", arXiv:2306.07280) in the
// form of OFTv2 (Qiu et al. 2025, arXiv:2506.19847), which rotates the input and leaves the weight: y = W·(x·diag(R_1, …, R_r)) + b. Each R
// is the rotation of a skew-symmetric matrix, by Cayley's map, exact or by a Neumann series. With block_share all blocks share one; with
// coft the matrix is kept within eps of 0 after each step. module_dropout makes a share of the blocks the identity in a training step, as
// HF's documentation says; HF 0.21.2 itself stores the field and does not apply it.
type oft struct {
	mergeTuner
	cfg OFTConfig
}

func newOFT() Method {
	m := &oft{cfg: OFTConfig{Common: newCommon("OFT"), BiasFields: BiasFields{Bias: "none"}, OFTBlockSize: 32, InitWeights: true, Eps: 6e-5,
		UseCayleyNeumann: true, NumCayleyNeumannTerms: 5}}
	m.method = "OFT"
	return m
}

func (m *oft) Config() any { return &m.cfg }

// Attach implements Method.
func (m *oft) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if (c.R != 0) == (c.OFTBlockSize != 0) || c.R < 0 || c.OFTBlockSize < 0 {
		return fmt.Errorf("peft: OFT: r = %d and oft_block_size = %d: give one of them and set the other to 0; r·oft_block_size is the "+
			"layer's input size",
			c.R, c.OFTBlockSize)
	}
	terms := 0
	if c.UseCayleyNeumann {
		terms = c.NumCayleyNeumannTerms
	}
	if err := firstError(probability("OFT", "module_dropout", c.ModuleDropout),
		atLeast("OFT", "num_cayley_neumann_terms", c.NumCayleyNeumannTerms, 1)); err != nil {
		return err
	}
	if c.COFT && !(c.Eps > 0) {
		return fmt.Errorf("peft: OFT: eps = %g; it must be above 0 with coft, which holds the rotations within it", float64(c.Eps))
	}
	return m.attach(c, sites, env, func(t *target) error {
		if err := onlyLinear(t, "OFT"); err != nil {
			return err
		}
		n, b := c.R, c.OFTBlockSize
		if n == 0 {
			b = divisor(t.in, b)
			n = t.in / b
		} else {
			n = divisor(t.in, n)
			b = t.in / n
		}
		k := &blockRotation{n: n, b: b, shared: c.BlockShare, dropout: c.ModuleDropout, name: t.name}
		size := b * (b - 1) / 2
		init := zeros
		if !c.InitWeights {
			init = normal(env.Seed, t.key("oft_R.weight"), 0.1)
		}
		q := t.param("oft_R.weight", init, k.blocks(), size)
		q.Rows, q.Cols = k.blocks(), size
		q.Init = init
		rot := newCayley(b, terms, false)
		k.make = func(pl *pool.Pool, p, r []float32) {
			pl.Run(k.blocks(), func(j int) {
				theta := p[j*size : (j+1)*size]
				if c.COFT {
					theta = append([]float32(nil), theta...)
					project(theta, k.blocks(), float64(c.Eps))
				}
				rot.rotate(k.matrix(r, j), theta)
			})
		}
		k.back = func(pl *pool.Pool, dp, p, dr []float32) { // through the projection as if it were not there, as HF
			pl.Run(k.blocks(), func(j int) {
				theta := p[j*size : (j+1)*size]
				if c.COFT {
					theta = append([]float32(nil), theta...)
					project(theta, k.blocks(), float64(c.Eps))
				}
				rot.rotateBack(dp[j*size:(j+1)*size], theta, k.matrix(dr, j))
			})
		}
		t.form = &inputTransform{transform: k.transform(), fold: func(t *target, p [][]float32, w, _ []float32) error {
			k.fold(p, w, t.out)
			return nil
		}, unfold: func(t *target, p [][]float32, w, _ []float32) { k.unfold(p, w, t.out) }}
		return nil
	})
}

// project scales theta, the upper triangle of a skew-symmetric matrix, so that the matrix's norm is at most eps/√blocks (COFT).
func project(theta []float32, blocks int, eps float64) {
	sum := 0.0
	for _, v := range theta {
		sum += 2 * float64(v) * float64(v)
	}
	eps /= math.Sqrt(float64(blocks))
	if norm := math.Sqrt(sum); norm > eps {
		for i, v := range theta {
			theta[i] = float32(float64(v) * eps / norm)
		}
	}
}

// Step implements Stepper: COFT's projection, which HF makes in the next forward pass.
func (m *oft) Step(params *nn.Params, slot, _, _ int) error {
	if !m.cfg.COFT {
		return nil
	}
	for _, t := range m.list {
		q := t.params[0]
		p := params.Get(q.Name)
		if p == nil {
			return fmt.Errorf("peft: OFT: parameter %s does not exist", q.Name)
		}
		for j := range q.Rows {
			project(p.Slot(slot)[j*q.Cols:(j+1)*q.Cols], q.Rows, float64(m.cfg.Eps))
		}
	}
	return nil
}

// State implements Stepper.
func (m *oft) State() ([]byte, error) { return nil, nil }

// SetState implements Stepper.
func (m *oft) SetState([]byte) error { return nil }

// divisor is v, or where it does not divide n the nearest divisor of n, the smaller of two, as HF adjusts it.
func divisor(n, v int) int {
	if v >= n {
		return n
	}
	up, down := v, v
	for n%up != 0 {
		up++
	}
	for n%down != 0 {
		down--
	}
	if v-down <= up-v {
		return down
	}
	return up
}

// onlyLinear refuses a Conv1D where HF's method has the field fan_in_fan_out but does not adapt one.
func onlyLinear(t *target, method string) error {
	if t.conv {
		return fmt.Errorf("peft: %s: target %s is a Conv1D, which %s does not adapt; it adapts linear layers", method, t.name, method)
	}
	return nil
}
