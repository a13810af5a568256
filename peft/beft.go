package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// BeftConfig is HF's BeftConfig.
type BeftConfig struct {
	Common
	TargetFields
	InitWeights bool `json:"init_weights"`
}

// beft is BEFT (Huang et al. 2025, "Bias-Efficient Fine-Tuning of Language Models in Low-Data Regimes", arXiv:2509.15974): a bias is added
// to the output of the value projections alone, y = W·x + b + d, with d starting at 0.
type beft struct {
	mergeTuner
	cfg BeftConfig
}

func newBeft() Method {
	m := &beft{cfg: BeftConfig{Common: newCommon("BEFT"), InitWeights: true}}
	m.method = "BEFT"
	return m
}

func (m *beft) Config() any { return &m.cfg }

// Attach implements Method.
func (m *beft) Attach(sites []nn.Site, env Env) error {
	return m.attach(&m.cfg, sites, env, func(t *target) error {
		init := zeros
		if !m.cfg.InitWeights {
			init = normal(env.Seed, t.key("beft_bias"), 1)
		}
		t.param("beft_bias", init, 1, t.out)
		t.form = &outputTransform{transform: transform{
			forward: func(pl *pool.Pool, n int, x, y []float32, p [][]float32, _, _ []float32) {
				copy(y, x)
				kernels.AddBias(pl, y, n, t.out, p[0])
			},
			backward: func(pl *pool.Pool, n int, _, dy, dx []float32, _, dp [][]float32, _, _, _ []float32) {
				if dx != nil {
					kernels.AddTo(pl, dx, dy)
				}
				if dp[0] != nil {
					kernels.ColSum(pl, dp[0], dy, n, t.out)
				}
			},
		}, fold: func(t *target, p [][]float32, _, bias []float32) error {
			if bias == nil {
				return fmt.Errorf("the layer has no bias that could hold BEFT's; use the adapter unmerged")
			}
			kernels.AddTo(nil, bias, p[0])
			return nil
		}}
		return nil
	})
}
