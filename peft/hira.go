package peft

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// HiraConfig is HF's HiraConfig.
type HiraConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	FanFields
	R           int       `json:"r"`
	HiraDropout Float     `json:"hira_dropout"`
	InitWeights InitNamed `json:"init_weights"`
	RankPattern Patterns  `json:"rank_pattern"`
}

// hira is HiRA (Huang et al. 2025, "HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for Large Language Models", ICLR): the frozen
// weight W is scaled element by element by a low-rank product, ΔW = W ⊙ (B·A), with A [r, in] and B [out, r].
type hira struct {
	mergeTuner
	cfg HiraConfig
}

func newHira() Method {
	h := &hira{cfg: HiraConfig{Common: newCommon("HIRA"), R: 32, InitWeights: InitNamed{On: true}, RankPattern: Patterns{}}}
	h.method = "HIRA"
	return h
}

func (h *hira) Config() any            { return &h.cfg }
func (h *hira) unused() map[string]any { return map[string]any{"-runtime_config": map[string]any{}} }

// Attach implements Method.
func (h *hira) Attach(sites []nn.Site, env Env) error {
	c := &h.cfg
	if err := firstError(atLeast("HIRA", "r", c.R, 1), probability("HIRA", "hira_dropout", c.HiraDropout),
		rankPattern("HIRA", "rank_pattern", c.RankPattern)); err != nil {
		return err
	}
	if n := c.InitWeights.Name; n != "" && !strings.EqualFold(n, "gaussian") {
		return fmt.Errorf("peft: HIRA: init_weights = %q; it must be true, false or \"gaussian\"", n)
	}
	return h.attach(c, sites, env, func(t *target) error {
		r, _, err := rankAlpha(c.R, c.RankPattern, 0, nil, t.name)
		if err != nil {
			return err
		}
		if err := rankFits("HIRA", "r", r, t.in, t.out, t.name); err != nil {
			return err
		}
		ka, kb := t.key("hira_A"), t.key("hira_B")
		a, b := normal(env.Seed, ka, 1), normal(env.Seed, kb, 1)
		switch {
		case c.InitWeights.Name != "":
			a, b = normal(env.Seed, ka, 1/float64(r)), zeros
		case c.InitWeights.On:
			a, b = uniform(env.Seed, ka, t.in), zeros
		}
		t.param("hira_A", a, r, t.in)
		t.param("hira_B", b, t.out, r)
		t.form = &delta{dropout: c.HiraDropout, tmp: t.out * t.in,
			make: func(pl *pool.Pool, p [][]float32, dw, tmp []float32) {
				t.weight(tmp)
				product(pl, dw, p[1], p[0], t.out, r, t.in, 1)
				multiply(dw, dw, tmp)
			},
			grad: func(pl *pool.Pool, p, dp [][]float32, g, tmp []float32) {
				t.weight(tmp)
				multiply(g, g, tmp)
				productGrad(pl, g, p[1], p[0], dp[1], dp[0], t.out, r, t.in)
			}}
		return nil
	})
}
