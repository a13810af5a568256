package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/internal/torchrand"
	"github.com/adaptflow/adaptflow/nn"
)

// RandLoraConfig is HF's RandLoraConfig.
type RandLoraConfig struct {
	Common
	TargetFields
	LayerFields
	FanFields
	BiasFields
	R                 int     `json:"r"`
	ProjectionPRNGKey uint64  `json:"projection_prng_key"`
	SaveProjection    bool    `json:"save_projection"`
	Sparse            bool    `json:"sparse"`
	VerySparse        bool    `json:"very_sparse"`
	RandloraDropout   Float   `json:"randlora_dropout"`
	RandloraAlpha     float64 `json:"randlora_alpha"`
	InitWeights       bool    `json:"init_weights"`
}

// randLora is RandLoRA (Albert et al. 2025, "RandLoRA: Full-rank parameter-efficient fine-tuning of large models", arXiv:2502.00987): a sum
// of n frozen random products of rank r, of full rank together, weighted by trained diagonal matrices: ΔW = (alpha/r)·Σ_j B_j·Λ_j·A·Γ_j
// with Λ [r] and Γ [min(in, out)]. The frozen bases are shared by all targets; sparse and very_sparse draw them from {-1, 0, 1}.
type randLora struct {
	mergeTuner
	cfg RandLoraConfig
}

func newRandLora() Method {
	l := &randLora{cfg: RandLoraConfig{Common: newCommon("RANDLORA"), BiasFields: BiasFields{"none"}, R: 32, SaveProjection: true,
		RandloraAlpha: 640, InitWeights: true}}
	l.method = "RANDLORA"
	return l
}

func (l *randLora) Config() any { return &l.cfg }

// Attach implements Method.
func (l *randLora) Attach(sites []nn.Site, env Env) error {
	c := &l.cfg
	if err := firstError(atLeast("RANDLORA", "r", c.R, 1), probability("RANDLORA", "randlora_dropout", c.RandloraDropout),
		effective("RANDLORA", "randlora_alpha", float64(c.RandloraAlpha))); err != nil {
		return err
	}
	var pa, pb *projection
	return l.attach(c, sites, env, func(t *target) error {
		if err := rankFits("RANDLORA", "r", c.R, t.in, t.out, t.name); err != nil {
			return err
		}
		if pa == nil {
			pa, pb = l.bases()
		}
		if c.SaveProjection { // HF writes the shared tensors again for each target
			l.frozen = append(l.frozen, pa.frozen(t.key("randlora_A"), false), pb.frozen(t.key("randlora_B"), false))
		}
		small, large := min(t.in, t.out), max(t.in, t.out)
		n := (small + c.R - 1) / c.R
		lambda, gamma := zeros, constant(1/float64(max(n, small)))
		if !c.InitWeights {
			lambda, gamma = normal(env.Seed, t.key("randlora_lambda"), 1), constant(1/float64(large))
		}
		t.param("randlora_lambda", lambda, c.R, n)
		t.param("randlora_gamma", gamma, n, small)
		t.form = randLoraForm(t, c, pa, pb, n)
		return nil
	})
}

// bases are A [r, 1, min] and B [max, n, r] for the largest target.
func (l *randLora) bases() (a, b *projection) {
	c := &l.cfg
	out, in := l.largest()
	small, large := min(in, out), max(in, out)
	n := (small + c.R - 1) / c.R
	both := func() (x, y []float32) {
		g := torchrand.New(c.ProjectionPRNGKey)
		x, y = make([]float32, c.R*small), make([]float32, large*n*c.R)
		if c.Sparse || c.VerySparse {
			s := 3.0
			if c.VerySparse {
				s = math.Sqrt(float64(small))
			}
			g.Uniform(x, 0, 1)
			g.Uniform(y, 0, 1)
			ternary(x, s)
			ternary(y, s)
			return x, y
		}
		// HF draws in bfloat16 and divides by the deviation in bfloat16.
		bound := kaimingBound(small, math.Sqrt(5))
		g.UniformBF16(x, -bound, bound)
		bound = kaimingBound(c.R, math.Sqrt(5))
		part := make([]float32, large*c.R)
		for j := range n {
			g.UniformBF16(part, -bound, bound)
			for o := range large {
				copy(y[(o*n+j)*c.R:(o*n+j+1)*c.R], part[o*c.R:(o+1)*c.R])
			}
		}
		for _, v := range [][]float32{x, y} {
			d := torchrand.BF16(float32(deviation(v)))
			for i := range v {
				v[i] = torchrand.BF16(v[i] / d)
			}
		}
		return x, y
	}
	a = newProjection(func() []float32 { x, _ := both(); return x }, c.R, 1, small)
	b = newProjection(func() []float32 { _, y := both(); return y }, large, n, c.R)
	if c.SaveProjection {
		l.frozen = append(l.frozen, a.frozen("base_model.randlora_A", true), b.frozen("base_model.randlora_B", true))
	}
	return a, b
}

// ternary maps uniform numbers to -1, 0 and 1 with probability 1/(2s) for either sign (Achlioptas), and divides by the deviation.
func ternary(v []float32, s float64) {
	lo, hi := float32(1/(2*s)), float32(1-1/(2*s))
	for i, x := range v {
		switch {
		case x < lo:
			v[i] = -1
		case x > hi:
			v[i] = 1
		default:
			v[i] = 0
		}
	}
	d := float32(deviation(v))
	for i := range v {
		v[i] /= d
	}
}

// deviation is the standard deviation with Bessel's correction.
func deviation(v []float32) float64 {
	mean, sq := 0.0, 0.0
	for _, x := range v {
		mean += float64(x)
	}
	mean /= float64(len(v))
	for _, x := range v {
		sq += (float64(x) - mean) * (float64(x) - mean)
	}
	return math.Sqrt(sq / float64(len(v)-1))
}

// randLoraForm has rank r·n. In the reference, column m of the scaled A is its row k = m/n scaled for base m mod n, and column m of B is
// that of base m/r and row m mod r: the two orders differ, and are kept.
func randLoraForm(t *target, c *RandLoraConfig, pa, pb *projection, n int) *factors {
	r, small, large := c.R, min(t.in, t.out), max(t.in, t.out)
	rank := r * n
	narrow := small == t.in // A is applied to the input
	// put sets entry j of the scaled A's row m, or of B's.
	at := func(wide bool, m, j int) int {
		if wide == narrow { // in B [out, rank]
			return j*rank + m
		}
		if wide {
			return m*large + j
		}
		return m*small + j
	}
	return &factors{r: rank, scale: float32(c.RandloraAlpha / float64(r)), dropout: c.RandloraDropout,
		make: func(p [][]float32, a, b []float32) {
			if !narrow {
				a, b = b, a
			}
			full, bases := pa.shape[2], pb.shape[1]
			for m := range rank {
				k, j := m/n, m%n
				row := pa.values()[k*full:]
				for i := range small {
					a[at(false, m, i)] = p[0][k*n+j] * row[i] * p[1][j*small+i]
				}
				for o := range large {
					b[at(true, m, o)] = pb.values()[(o*bases+m/r)*r+m%r]
				}
			}
		},
		grad: func(p, dp [][]float32, a, b, da, db []float32) {
			if !narrow {
				da = db
			}
			full := pa.shape[2]
			for m := range rank {
				k, j := m/n, m%n
				row, sum := pa.values()[k*full:], 0.0
				for i := range small {
					g := da[at(false, m, i)] * row[i]
					sum += float64(g) * float64(p[1][j*small+i])
					if dp[1] != nil {
						dp[1][j*small+i] += float32(g * p[0][k*n+j])
					}
				}
				if dp[0] != nil {
					dp[0][k*n+j] += float32(sum)
				}
			}
		}}
}
