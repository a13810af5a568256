package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/nn"
)

// DeloraConfig is HF's DeloraConfig.
type DeloraConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	BiasFields
	R             int      `json:"r"`
	DeloraLambda  float64  `json:"delora_lambda"`
	ModuleDropout Float    `json:"module_dropout"` // of the input's values, as HF has it
	InitWeights   bool     `json:"init_weights"`
	RankPattern   Patterns `json:"rank_pattern"`
	LambdaPattern Patterns `json:"lambda_pattern"`
}

// delora is DeLoRA (Bini et al. 2025, "DeLoRA: Decoupling Angles and Strength in Low-rank Adaptation", arXiv:2503.18225): rank-one terms of
// length one bounded by a trained strength λ, scaled by the norms of W's columns: ΔW = B·diag(λ / (r·‖a_k‖·‖b_k‖))·A·diag(‖W_·i‖).
type delora struct {
	mergeTuner
	cfg DeloraConfig
}

func newDelora() Method {
	d := &delora{cfg: DeloraConfig{Common: newCommon("DELORA"), BiasFields: BiasFields{"none"}, R: 8, DeloraLambda: 15, InitWeights: true,
		RankPattern: Patterns{}, LambdaPattern: Patterns{}}}
	d.method = "DELORA"
	return d
}

func (d *delora) Config() any { return &d.cfg }

// deloraFloor is the smallest norm that HF divides by.
const deloraFloor = 1e-4

// Attach implements Method.
func (d *delora) Attach(sites []nn.Site, env Env) error {
	c := &d.cfg
	if err := firstError(atLeast("DELORA", "r", c.R, 1), probability("DELORA", "module_dropout", c.ModuleDropout),
		rankPattern("DELORA", "rank_pattern", c.RankPattern)); err != nil {
		return err
	}
	return d.attach(c, sites, env, func(t *target) error {
		r, lambda, err := rankAlpha(c.R, c.RankPattern, c.DeloraLambda, c.LambdaPattern, t.name)
		if err != nil {
			return err
		}
		if err := rankFits("DELORA", "r", r, t.in, t.out, t.name); err != nil {
			return err
		}
		b := zeros
		if !c.InitWeights {
			b = uniform(env.Seed, t.key("delora_B"), r)
		}
		t.param("delora_A", uniform(env.Seed, t.key("delora_A"), t.in), r, t.in)
		t.param("delora_B", b, t.out, r)
		t.param("delora_lambda", func(v []float32) { v[0] = float32(lambda) }, 1)
		norm := columnNorms(t)
		d.frozen = append(d.frozen, Frozen{Key: t.key("delora_w_norm"), Shape: []int{t.in}, Values: func() []float32 { return norm },
			Load: func(v []float32) { copy(norm, v) }, Need: true})
		// strength gives λ/(r·‖a_k‖·‖b_k‖), and the norms.
		strength := func(p [][]float32, k int) (s, na, nb float64) {
			sa, sb := 0.0, 0.0
			for _, x := range p[0][k*t.in : (k+1)*t.in] {
				sa += float64(x) * float64(x)
			}
			for o := range t.out {
				x := float64(p[1][o*r+k])
				sb += x * x
			}
			na, nb = max(math.Sqrt(sa), deloraFloor), max(math.Sqrt(sb), deloraFloor)
			return float64(p[2][0]) / float64(r) / (na * nb), na, nb
		}
		t.form = &factors{r: r, scale: 1, dropout: c.ModuleDropout,
			make: func(p [][]float32, a, b []float32) {
				for k := range r {
					s, _, _ := strength(p, k)
					for i := range t.in {
						a[k*t.in+i] = float32(float64(p[0][k*t.in+i]) * float64(norm[i]) * s)
					}
				}
				copy(b, p[1])
			},
			grad: func(p, dp [][]float32, a, b, da, db []float32) {
				for k := range r {
					s, na, nb := strength(p, k)
					ds := 0.0
					for i := range t.in {
						g := float64(da[k*t.in+i]) * float64(norm[i])
						ds += g * float64(p[0][k*t.in+i])
						if dp[0] != nil {
							dp[0][k*t.in+i] += float32(g * s)
						}
					}
					if dp[2] != nil {
						dp[2][0] += float32(ds / float64(r) / (na * nb))
					}
					for i := 0; dp[0] != nil && na > deloraFloor && i < t.in; i++ {
						dp[0][k*t.in+i] -= float32(ds * s / (na * na) * float64(p[0][k*t.in+i]))
					}
					for o := 0; dp[1] != nil && o < t.out; o++ {
						g := float64(db[o*r+k])
						if nb > deloraFloor {
							g -= ds * s / (nb * nb) * float64(p[1][o*r+k])
						}
						dp[1][o*r+k] += float32(g)
					}
				}
			}}
		return nil
	})
}

// columnNorms are the lengths of the base weight's columns, [in].
func columnNorms(t *target) []float32 {
	w := make([]float32, t.out*t.in)
	t.weight(w)
	sum := make([]float64, t.in)
	for o := range t.out {
		for i, x := range w[o*t.in : (o+1)*t.in] {
			sum[i] += float64(x) * float64(x)
		}
	}
	norm := make([]float32, t.in)
	for i, s := range sum {
		norm[i] = float32(math.Sqrt(s))
	}
	return norm
}
