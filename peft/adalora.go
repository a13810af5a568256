package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// AdaloraConfig is HF's AdaLoraConfig.
type AdaloraConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	FanFields
	BiasFields
	R               int               `json:"r"` // not used, as in the reference
	InitR           int               `json:"init_r"`
	TargetR         int               `json:"target_r"`
	TInit           int               `json:"tinit"`
	TFinal          int               `json:"tfinal"`
	DeltaT          int               `json:"deltaT"`
	Beta1           Float             `json:"beta1"`
	Beta2           Float             `json:"beta2"`
	OrthRegWeight   Float             `json:"orth_reg_weight"`
	TotalStep       *int              `json:"total_step"` // the run's length where it is not given
	RankPattern     map[string][]bool `json:"rank_pattern"`
	LoraAlpha       float64           `json:"lora_alpha"`
	LoraDropout     Float             `json:"lora_dropout"`
	InitLoraWeights bool              `json:"init_lora_weights"`
}

// adalora is AdaLoRA (Zhang et al. 2023, "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", arXiv:2303.10512): a
// singular value decomposition with trained A [r, in], E [r, 1] and B [out, r], ΔW = alpha/(init_r + 1e-5)·B·diag(E)·A, kept near
// orthogonal by orth_reg_weight times the mean of ‖A·Aᵀ - I‖ and ‖Bᵀ·B - I‖ in the loss. After each optimiser step the triplets with the
// smallest importance, a smoothed product of value and gradient, lose their E until target_r a layer are left.
type adalora struct {
	mergeTuner
	cfg   AdaloraConfig
	ranks map[string]int
	slots []*adaSlot
}

func newAdalora() Method {
	a := &adalora{cfg: AdaloraConfig{Common: newCommon("ADALORA"), BiasFields: BiasFields{"none"}, R: 8, InitR: 12, TargetR: 8, DeltaT: 1,
		Beta1: 0.85, Beta2: 0.85,
		OrthRegWeight: 0.5, LoraAlpha: 8, InitLoraWeights: true}}
	a.method = "ADALORA"
	return a
}

func (a *adalora) Config() any { return &a.cfg }

// unused are the fields that HF's AdaLoraConfig inherits.
func (a *adalora) unused() map[string]any {
	return map[string]any{"alora_invocation_tokens": nil, "alpha_pattern": map[string]any{}, "arrow_config": nil, "corda_config": nil,
		"ensure_weight_tying": false, "eva_config": nil, "kasa_config": nil, "layer_replication": nil, "loftq_config": map[string]any{},
		"lora_bias": false, "lora_ga_config": nil, "megatron_config": nil, "megatron_core": "megatron.core", "monteclora_config": nil,
		"qalora_group_size": 16.0, "target_parameters": nil, "trainable_token_indices": nil, "use_bdlora": nil, "use_dora": false,
		"use_qalora": false, "use_rslora": false, "velora_config": nil, "-runtime_config": map[string]any{"ephemeral_gpu_offload": false}}
}

// Attach implements Method.
func (a *adalora) Attach(sites []nn.Site, env Env) error {
	c := &a.cfg
	if err := firstError(atLeast("ADALORA", "init_r", c.InitR, 1), atLeast("ADALORA", "target_r", c.TargetR, 1),
		atLeast("ADALORA", "tinit", c.TInit, 0),
		atLeast("ADALORA", "tfinal", c.TFinal, 0), atLeast("ADALORA", "deltaT", c.DeltaT, 1),
		probability("ADALORA", "lora_dropout", c.LoraDropout)); err != nil {
		return err
	}
	switch {
	case !(c.Beta1 > 0 && c.Beta1 < 1 && c.Beta2 > 0 && c.Beta2 < 1):
		return fmt.Errorf("peft: ADALORA: beta1 = %g and beta2 = %g; they must be between 0 and 1", float64(c.Beta1), float64(c.Beta2))
	case !(c.OrthRegWeight >= 0):
		return fmt.Errorf("peft: ADALORA: orth_reg_weight = %g; it must not be negative", float64(c.OrthRegWeight))
	case c.TargetR > c.InitR:
		return fmt.Errorf("peft: ADALORA: target_r = %d is above init_r = %d, the rank that the layers start from", c.TargetR, c.InitR)
	case c.TotalStep != nil:
		if err := a.schedule(*c.TotalStep); err != nil {
			return err
		}
	}
	a.ranks, a.slots = map[string]int{}, nil
	known := 0
	err := a.attach(c, sites, env, func(t *target) error {
		r := c.InitR
		if err := rankFits("ADALORA", "init_r", r, t.in, t.out, t.name); err != nil {
			return err
		}
		if keep, ok := c.RankPattern[t.name+".lora_E"]; ok {
			known++
			r = 0
			for _, k := range keep {
				if k {
					r++
				}
			}
		}
		a.ranks[t.name] = r
		if r == 0 { // nothing is left of this layer; the folder has empty tensors
			for tensor, shape := range map[string][]int{"lora_E": {0, 1}, "lora_A": {0, t.in}, "lora_B": {t.out, 0}} {
				a.frozen = append(a.frozen, Frozen{Key: t.key(tensor), Shape: shape, Values: func() []float32 { return []float32{} }})
			}
			t.form = emptyForm{}
			return nil
		}
		start := func(tensor string) func([]float32) { return normal(env.Seed, t.key(tensor), 0.02) }
		e := zeros
		if !c.InitLoraWeights {
			start = func(tensor string) func([]float32) { return normal(env.Seed, t.key(tensor), 1) }
			e = start("lora_E")
		}
		t.param("lora_E", e, r, 1)
		t.param("lora_A", start("lora_A"), r, t.in)
		t.param("lora_B", start("lora_B"), t.out, r)
		scale := c.LoraAlpha
		if scale <= 0 {
			scale = float64(r)
		}
		t.form = &factors{r: r, scale: float32(scale / (float64(c.InitR) + 1e-5)), dropout: c.LoraDropout,
			make: func(p [][]float32, fa, fb []float32) {
				for i, x := range p[1] {
					fa[i] = p[0][i/t.in] * x
				}
				copy(fb, p[2])
			},
			grad: func(p, dp [][]float32, _, _, da, db []float32) {
				for k := range r {
					sum := 0.0
					for i, g := range da[k*t.in : (k+1)*t.in] {
						sum += float64(g) * float64(p[1][k*t.in+i])
						if dp[1] != nil {
							dp[1][k*t.in+i] += float32(g * p[0][k])
						}
					}
					if dp[0] != nil {
						dp[0][k] += float32(sum)
					}
				}
				for i := range dp[2] {
					dp[2][i] += db[i]
				}
			}}
		return nil
	})
	if err == nil && known < len(c.RankPattern) {
		return fmt.Errorf("peft: ADALORA: rank_pattern names %d layers, of which %d are targets; its keys are full module names with "+
			".lora_E", len(c.RankPattern), known)
	}
	return err
}

// emptyForm is a layer that the method leaves alone.
type emptyForm struct{}

func (emptyForm) wire(_ *nn.Builder, s nn.Site, _ *target) nn.Ref      { return s.Out }
func (emptyForm) merge(_ *target, _ [][]float32, _, _ []float32) error { return nil }

// Regularise implements Regulariser.
func (a *adalora) Regularise(params *nn.Params, slot int) float64 {
	n := 0
	for _, t := range a.list {
		n += 2 * min(1, a.ranks[t.name])
	}
	if n == 0 || a.cfg.OrthRegWeight == 0 {
		return 0
	}
	weight, sum := float64(a.cfg.OrthRegWeight)/float64(n), 0.0
	for _, t := range a.list {
		if r := a.ranks[t.name]; r > 0 {
			sum += orthogonality(params.Get(t.params[1].Name), slot, r, t.in, t.in, 1, weight)
			sum += orthogonality(params.Get(t.params[2].Name), slot, r, t.out, 1, r, weight)
		}
	}
	return weight * sum
}

// orthogonality is ‖M·Mᵀ - I‖ of a parameter as a matrix M [r, n] with the strides rs and cs; it adds weight times the gradient.
func orthogonality(q *nn.Param, slot, r, n, rs, cs int, weight float64) float64 {
	v := q.Slot(slot)
	c := make([]float32, r*r)
	kernels.Gemm(nil, r, r, n, 1, v, rs, cs, v, cs, rs, 0, c, r)
	for k := range r {
		c[k*r+k]--
	}
	norm := math.Sqrt(kernels.SumSquares(c))
	if g := q.GradSlot(slot); g != nil && norm > 0 {
		s := float32(2 * weight / norm)
		if cs == 1 { // dM = 2·C·M / ‖C‖
			kernels.Gemm(nil, r, n, r, s, c, r, 1, v, rs, 1, 1, g, rs)
		} else {
			kernels.Gemm(nil, n, r, r, s, v, cs, 1, c, r, 1, 1, g, cs)
		}
	}
	return norm
}
