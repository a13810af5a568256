package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/nn"
)

// GraloraConfig is HF's GraloraConfig.
type GraloraConfig struct {
	Common
	TargetFields
	LayerFields
	FanFields
	BiasFields
	R              int     `json:"r"`
	HybridR        int     `json:"hybrid_r"`
	Alpha          float64 `json:"alpha"`
	GraloraDropout Float   `json:"gralora_dropout"`
	GraloraK       int     `json:"gralora_k"`
	InitWeights    bool    `json:"init_weights"`
}

// gralora is GraLoRA (Jung et al. 2025, "GraLoRA: Granular Low-Rank Adaptation for Parameter-Efficient Fine-Tuning", arXiv:2505.20355): the
// weight is cut into k·k blocks, each with a low-rank pair of rank r/k, ΔW_ij = alpha/(r + hybrid_r)·B_ij·A_ij; hybrid_r adds one pair over
// the whole weight.
type gralora struct {
	mergeTuner
	cfg GraloraConfig
}

func newGralora() Method {
	g := &gralora{cfg: GraloraConfig{Common: newCommon("GRALORA"), BiasFields: BiasFields{"none"}, R: 32, Alpha: 64, GraloraK: 2,
		InitWeights: true}}
	g.method = "GRALORA"
	return g
}

func (g *gralora) Config() any { return &g.cfg }

// Attach implements Method.
func (g *gralora) Attach(sites []nn.Site, env Env) error {
	c := &g.cfg
	if err := firstError(atLeast("GRALORA", "r", c.R, 1), atLeast("GRALORA", "hybrid_r", c.HybridR, 0),
		atLeast("GRALORA", "gralora_k", c.GraloraK, 1),
		probability("GRALORA", "gralora_dropout", c.GraloraDropout), effective("GRALORA", "alpha", float64(c.Alpha))); err != nil {
		return err
	}
	if c.R%c.GraloraK != 0 {
		return fmt.Errorf("peft: GRALORA: r = %d is not divisible by gralora_k = %d; each block has the rank r/gralora_k", c.R, c.GraloraK)
	}
	return g.attach(c, sites, env, func(t *target) error {
		k, r, h := c.GraloraK, c.R, c.HybridR
		if err := firstError(rankFits("GRALORA", "r", r, t.in, t.out, t.name),
			rankFits("GRALORA", "hybrid_r", h, t.in, t.out, t.name)); err != nil {
			return err
		}
		if t.in%k != 0 || t.out%k != 0 {
			return fmt.Errorf("peft: GRALORA: gralora_k = %d does not divide the %d inputs and %d outputs of %s", k, t.in, t.out, t.name)
		}
		in, out := t.in/k, t.out/k // of a block
		start := func(tensor string, fanIn int, zero bool) func([]float32) {
			if zero {
				return zeros
			}
			return uniform(env.Seed, t.key(tensor), fanIn)
		}
		t.param("gralora_A", start("gralora_A", in, false), k, in, r)
		t.param("gralora_B", start("gralora_B", r, c.InitWeights), k, r, out)
		if h > 0 {
			t.param("gralora_A_general.weight", start("gralora_A_general.weight", t.in, false), h, t.in)
			t.param("gralora_B_general.weight", start("gralora_B_general.weight", h, c.InitWeights), t.out, h)
		}
		rank, sub := k*r+h, r/k
		// Latent number m = n·r + q is number q of input block n. It feeds output block q/sub, as that block's number n·sub + q mod sub.
		each := func(f func(m, n, q, j, s int)) {
			for n := range k {
				for q := range r {
					f(n*r+q, n, q, q/sub, n*sub+q%sub)
				}
			}
		}
		t.form = &factors{r: rank, scale: float32(c.Alpha / float64(r+h)), dropout: c.GraloraDropout,
			make: func(p [][]float32, a, b []float32) {
				clear(a)
				clear(b)
				each(func(m, n, q, j, s int) {
					for i := range in {
						a[m*t.in+n*in+i] = p[0][(n*in+i)*r+q]
					}
					for o := range out {
						b[(j*out+o)*rank+m] = p[1][(j*r+s)*out+o]
					}
				})
				if h > 0 {
					copy(a[k*r*t.in:], p[2])
					for o := range t.out {
						copy(b[o*rank+k*r:(o+1)*rank], p[3][o*h:])
					}
				}
			},
			grad: func(p, dp [][]float32, a, b, da, db []float32) {
				each(func(m, n, q, j, s int) {
					for i := 0; dp[0] != nil && i < in; i++ {
						dp[0][(n*in+i)*r+q] += da[m*t.in+n*in+i]
					}
					for o := 0; dp[1] != nil && o < out; o++ {
						dp[1][(j*r+s)*out+o] += db[(j*out+o)*rank+m]
					}
				})
				if h == 0 {
					return
				}
				for i := range dp[2] {
					dp[2][i] += da[k*r*t.in+i]
				}
				for i := range dp[3] {
					dp[3][i] += db[i/h*rank+k*r+i%h]
				}
			}}
		return nil
	})
}
