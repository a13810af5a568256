package peft

import (
	"fmt"
	"math"
	"strconv"

	"github.com/adaptflow/adaptflow/internal/torchrand"
	"github.com/adaptflow/adaptflow/nn"
	"gonum.org/v1/gonum/mat"
)

// TinyLoraConfig is HF's TinyLoraConfig.
type TinyLoraConfig struct {
	Common
	TargetFields
	LayerFields
	FanFields
	BiasFields
	R               int       `json:"r"`
	U               int       `json:"u"`
	WeightTying     Float     `json:"weight_tying"`
	ProjectionSeed  uint64    `json:"projection_seed"`
	SaveProjection  bool      `json:"save_projection"`
	InitVBound      float64   `json:"init_v_bound"`
	TinyloraDropout Float     `json:"tinylora_dropout"`
	InitWeights     InitNamed `json:"init_weights"`
}

// tinyLora is TinyLoRA ("Learning to Reason in 13 Parameters", 2026, arXiv:2602.04118): with the r largest singular triplets of W = U·S·Vᵀ,
// A = √S·Vᵀ and B = U·√S stay frozen, and ΔW = B·(Σ_i v_i·P_i)·A with frozen normal matrices P_i [r, r] and a trained vector v [u], which
// groups of targets share by weight_tying. Without save_projection the P_i come from projection_seed as torch draws them.
type tinyLora struct {
	mergeTuner
	cfg TinyLoraConfig
}

func newTinyLora() Method {
	l := &tinyLora{cfg: TinyLoraConfig{Common: newCommon("TINYLORA"), BiasFields: BiasFields{"none"}, R: 2, U: 64, ProjectionSeed: 42,
		SaveProjection: true,
		InitVBound:     0.02, InitWeights: InitNamed{On: true}}}
	l.method = "TINYLORA"
	return l
}

func (l *tinyLora) Config() any { return &l.cfg }

// Attach implements Method.
func (l *tinyLora) Attach(sites []nn.Site, env Env) error {
	c := &l.cfg
	if err := firstError(atLeast("TINYLORA", "r", c.R, 1), atLeast("TINYLORA", "u", c.U, 1),
		probability("TINYLORA", "tinylora_dropout", c.TinyloraDropout),
		notNegative("TINYLORA", "init_v_bound", float64(c.InitVBound))); err != nil {
		return err
	}
	if !(c.WeightTying >= 0 && c.WeightTying <= 1) {
		return fmt.Errorf("peft: TINYLORA: weight_tying = %g; it must be in [0, 1]", float64(c.WeightTying))
	}
	if n := c.InitWeights.Name; n != "" && n != "uniform" {
		return fmt.Errorf("peft: TINYLORA: init_weights = %q; it must be true, false or \"uniform\"", n)
	}
	index, first := 0, ""
	vectors := map[int]*Param{}
	return l.attach(c, sites, env, func(t *target) error {
		if first == "" {
			first = t.name
		}
		groups := max(1, int(math.RoundToEven(float64(len(l.list))*(1-float64(c.WeightTying)))))
		group := min(index/max(1, len(l.list)/groups), groups-1)
		v := vectors[group]
		if v == nil {
			tensor := "tinylora_v." + strconv.Itoa(group)
			key := "base_model." + tensor
			start := zeros
			if c.InitWeights.Name != "" {
				start = uniformWithin(env.Seed, key, c.InitVBound)
			}
			v = newParam(prefix+first+"."+tensor, key, start, c.U)
			vectors[group] = v
		}
		t.params = append(t.params, v)
		r := min(c.R, t.in, t.out)
		pa, pb := singularPair(t, r)
		seed := c.ProjectionSeed + uint64(index)
		pp := newProjection(func() []float32 {
			x := make([]float32, c.U*r*r)
			torchrand.New(seed).Normal(x, 0, 1/math.Sqrt(float64(r)))
			return x
		}, c.U, r, r)
		index++
		l.frozen = append(l.frozen, pa.frozen(t.key("tinylora_A"), true), pb.frozen(t.key("tinylora_B"), true))
		if c.SaveProjection {
			l.frozen = append(l.frozen, pp.frozen(t.key("tinylora_P"), false))
		}
		t.form = &factors{r: r, scale: 1, dropout: c.TinyloraDropout,
			make: func(p [][]float32, a, b []float32) {
				copy(a, pa.values())
				mix := make([]float32, r*r)
				for i, x := range p[0] {
					for j, y := range pp.values()[i*r*r : (i+1)*r*r] {
						mix[j] += float32(x * y)
					}
				}
				product(nil, b, pb.values(), mix, t.out, r, r, 1)
			},
			grad: func(p, dp [][]float32, a, b, da, db []float32) {
				mix := make([]float32, r*r)
				productGrad(nil, db, pb.values(), nil, nil, mix, t.out, r, r)
				for i := range dp[0] {
					sum := 0.0
					for j, y := range pp.values()[i*r*r : (i+1)*r*r] {
						sum += float64(mix[j]) * float64(y)
					}
					dp[0][i] += float32(sum)
				}
			}}
		return nil
	})
}

// singularPair are A [r, in] and B [out, r], the r largest singular triplets of the target's weight with √S in each. They are found when
// they are first used, and not at all where a folder brings them: the signs of singular vectors are not unique.
func singularPair(t *target, r int) (a, b *projection) {
	var fa, fb []float32
	find := func() {
		if fa != nil {
			return
		}
		w := make([]float32, t.out*t.in)
		t.weight(w)
		d := make([]float64, len(w))
		for i, x := range w {
			d[i] = float64(x)
		}
		var svd mat.SVD
		if !svd.Factorize(mat.NewDense(t.out, t.in, d), mat.SVDThin) {
			panic("peft: the singular values of " + t.name + " were not found; its weight is not finite")
		}
		var u, v mat.Dense
		svd.UTo(&u)
		svd.VTo(&v)
		s := svd.Values(nil)
		fa, fb = make([]float32, r*t.in), make([]float32, t.out*r)
		for k := range r {
			root := math.Sqrt(s[k])
			for i := range t.in {
				fa[k*t.in+i] = float32(root * v.At(i, k))
			}
			for o := range t.out {
				fb[o*r+k] = float32(root * u.At(o, k))
			}
		}
	}
	a = newProjection(func() []float32 { find(); return fa }, r, t.in)
	b = newProjection(func() []float32 { find(); return fb }, t.out, r)
	return a, b
}
