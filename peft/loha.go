package peft

import (
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// LohaConfig is HF's LoHaConfig.
type LohaConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	R             int      `json:"r"`
	Alpha         float64  `json:"alpha"`
	RankDropout   Float    `json:"rank_dropout"`
	ModuleDropout Float    `json:"module_dropout"`
	InitWeights   bool     `json:"init_weights"`
	RankPattern   Patterns `json:"rank_pattern"`
	AlphaPattern  Patterns `json:"alpha_pattern"`
}

// loha is LoHa, the Hadamard product of two low-rank products (Hyeon-Woo et al. 2021, "FedPara", arXiv:2108.06098; Yeh et al. 2023,
// LyCORIS, arXiv:2309.14859): ΔW = (alpha/r)·(w1a·w1b) ⊙ (w2a·w2b), whose rank may reach r².
type loha struct {
	mergeTuner
	cfg LohaConfig
}

func newLoha() Method {
	l := &loha{cfg: LohaConfig{Common: newCommon("LOHA"), R: 8, Alpha: 8, InitWeights: true, RankPattern: Patterns{},
		AlphaPattern: Patterns{}}}
	l.method = "LOHA"
	return l
}

func (l *loha) Config() any            { return &l.cfg }
func (l *loha) unused() map[string]any { return map[string]any{"use_effective_conv2d": false} }

// Attach implements Method.
func (l *loha) Attach(sites []nn.Site, env Env) error {
	c := &l.cfg
	if err := firstError(atLeast("LOHA", "r", c.R, 1), probability("LOHA", "rank_dropout", c.RankDropout),
		probability("LOHA", "module_dropout", c.ModuleDropout), effective("LOHA", "alpha", float64(c.Alpha)),
		rankPattern("LOHA", "rank_pattern", c.RankPattern)); err != nil {
		return err
	}
	return l.attach(c, sites, env, func(t *target) error {
		r, alpha, err := rankAlpha(c.R, c.RankPattern, c.Alpha, c.AlphaPattern, t.name)
		if err != nil {
			return err
		}
		if err := rankFits("LOHA", "r", r, t.in, t.out, t.name); err != nil {
			return err
		}
		// torch takes the fan-in from the last dimension.
		zero := zeros
		if !c.InitWeights {
			zero = uniform(env.Seed, t.key("hada_w2_b"), t.in)
		}
		t.param("hada_w1_a", uniform(env.Seed, t.key("hada_w1_a"), r), t.out, r)
		t.param("hada_w1_b", uniform(env.Seed, t.key("hada_w1_b"), t.in), r, t.in)
		t.param("hada_w2_a", uniform(env.Seed, t.key("hada_w2_a"), r), t.out, r)
		t.param("hada_w2_b", zero, r, t.in)
		n := t.out * t.in
		t.form = &delta{moduleDropout: c.ModuleDropout, tmp: n, stepped: rowDropout(t, c.RankDropout, true),
			make: func(pl *pool.Pool, p [][]float32, dw, tmp []float32) {
				product(pl, dw, p[0], p[1], t.out, r, t.in, float32(alpha/float64(r)))
				product(pl, tmp, p[2], p[3], t.out, r, t.in, 1)
				multiply(dw, dw, tmp)
			},
			grad: func(pl *pool.Pool, p, dp [][]float32, g, tmp []float32) {
				kernels.Scale(pl, float32(alpha/float64(r)), g)
				for k := 0; k < 4; k += 2 {
					product(pl, tmp, p[2-k], p[3-k], t.out, r, t.in, 1)
					multiply(tmp, tmp, g)
					productGrad(pl, tmp, p[k], p[k+1], dp[k], dp[k+1], t.out, r, t.in)
				}
			}}
		return nil
	})
}

// rowDropout is LyCORIS' rank_dropout: in training, rows of ΔW are zero with probability p; with scaled, the others grow by the share that
// is left. It is nil without dropout.
func rowDropout(t *target, p Float, scaled bool) func(w *nn.Work, dw []float32) {
	if p == 0 {
		return nil
	}
	return func(w *nn.Work, dw []float32) {
		key := philox.NewKey(w.Seed, "rank_dropout", t.name)
		keep := func(row int) bool { return philox.Uniform(key.At(w.Step.Index, uint64(row))[0]) >= float32(p) }
		left := 0
		for row := range t.out {
			if keep(row) {
				left++
			}
		}
		scale := float32(1)
		if scaled && left > 0 {
			scale = float32(t.out) / float32(left)
		}
		for row := range t.out {
			x := dw[row*t.in : (row+1)*t.in]
			if !keep(row) {
				clear(x)
				continue
			}
			for i := range x {
				x[i] *= scale
			}
		}
	}
}
