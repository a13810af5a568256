package peft

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
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

// adalora is AdaLoRA (Zhang et al. 2023, "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", arXiv:2303.10512): a singular value
// decomposition with trained A [r, in], E [r, 1] and B [out, r], ΔW = alpha/(init_r + 1e-5)·B·diag(E)·A, kept near orthogonal by
// orth_reg_weight times the mean of ‖A·Aᵀ - I‖ and ‖Bᵀ·B - I‖ in the loss. After each optimiser step the triplets with the smallest
// importance, a smoothed product of value and gradient, lose their E until target_r a layer are left.
type adalora struct {
	mergeTuner
	cfg   AdaloraConfig
	ranks map[string]int
	slots []*adaSlot
}

// adaSlot is the state of one adapter slot: for each target's E, A and B the smoothed sensitivity and its uncertainty, and which triplets are left.
type adaSlot struct {
	Sensitivity, Uncertainty [][]float32
	Keep                     [][]bool // by target; nil until triplets are masked
}

func newAdalora() Method {
	a := &adalora{cfg: AdaloraConfig{Common: newCommon("ADALORA"), BiasFields: BiasFields{"none"}, R: 8, InitR: 12, TargetR: 8, DeltaT: 1, Beta1: 0.85, Beta2: 0.85,
		OrthRegWeight: 0.5, LoraAlpha: 8, InitLoraWeights: true}}
	a.method = "ADALORA"
	return a
}

func (a *adalora) Config() any     { return &a.cfg }
func (a *adalora) common() *Common { return &a.cfg.Common }

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
	if err := firstError(atLeast("ADALORA", "init_r", c.InitR, 1), atLeast("ADALORA", "target_r", c.TargetR, 1), atLeast("ADALORA", "tinit", c.TInit, 0),
		atLeast("ADALORA", "tfinal", c.TFinal, 0), atLeast("ADALORA", "deltaT", c.DeltaT, 1), probability("ADALORA", "lora_dropout", c.LoraDropout)); err != nil {
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
		return fmt.Errorf("peft: ADALORA: rank_pattern names %d layers, of which %d are targets; its keys are full module names with .lora_E", len(c.RankPattern), known)
	}
	return err
}

// emptyForm is a layer that the method leaves alone.
type emptyForm struct{}

func (emptyForm) wire(_ *nn.Builder, s nn.Site, _ *target) nn.Ref      { return s.Out }
func (emptyForm) merge(_ *target, _ [][]float32, _, _ []float32) error { return nil }

// schedule refuses a run that is too short.
func (a *adalora) schedule(total int) error {
	if c := &a.cfg; c.TInit >= total-c.TFinal {
		return fmt.Errorf("peft: ADALORA: tinit = %d and tfinal = %d leave no step of total_step = %d to reduce the ranks in; lower them or train longer", c.TInit, c.TFinal, total)
	}
	return nil
}

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

// slot returns the state of a slot, made when absent.
func (a *adalora) slot(i int) *adaSlot {
	for len(a.slots) <= i {
		a.slots = append(a.slots, &adaSlot{})
	}
	return a.slots[i]
}

// live are the targets that have triplets.
func (a *adalora) live() []*target {
	return slices.DeleteFunc(slices.Clone(a.list), func(t *target) bool { return a.ranks[t.name] == 0 })
}

// Step implements Stepper, as update_and_allocate of the reference: it needs the gradients of the step, clipped.
func (a *adalora) Step(params *nn.Params, slot, index, total int) error {
	c := &a.cfg
	if c.TotalStep == nil {
		if err := a.schedule(total); err != nil {
			return err
		}
		c.TotalStep = &total
	}
	s, end := a.slot(slot), *c.TotalStep-c.TFinal
	switch {
	case index < end:
		a.observe(params, slot, s)
		if index > c.TInit && index%c.DeltaT == 0 {
			a.allocate(params, slot, s, index)
		}
	case index == end:
		a.allocate(params, slot, s, index)
		s.Sensitivity, s.Uncertainty = nil, nil
	default:
		for i, t := range a.live() {
			if s.Keep != nil {
				maskTriplets(params.Get(t.params[0].Name).Slot(slot), s.Keep[i])
			}
		}
	}
	return nil
}

// observe smooths |value·gradient|, and how far it is from its mean.
func (a *adalora) observe(params *nn.Params, slot int, s *adaSlot) {
	b1, b2 := float32(a.cfg.Beta1), float32(a.cfg.Beta2)
	at := 0
	for _, t := range a.live() {
		for _, p := range t.params {
			q := params.Get(p.Name)
			if at == len(s.Sensitivity) {
				s.Sensitivity, s.Uncertainty = append(s.Sensitivity, make([]float32, p.Size())), append(s.Uncertainty, make([]float32, p.Size()))
			}
			avg, unc, g := s.Sensitivity[at], s.Uncertainty[at], q.GradSlot(slot)
			at++
			for i, v := range q.Slot(slot) {
				x := float32(math.Abs(float64(v * g[i])))
				avg[i] = float32(b1*avg[i]) + float32((1-b1)*x)
				unc[i] = float32(b2*unc[i]) + float32((1-b2)*float32(math.Abs(float64(x-avg[i]))))
			}
		}
	}
}

// allocate masks the triplets of least importance down to the budget of the step, which falls with the third power.
func (a *adalora) allocate(params *nn.Params, slot int, s *adaSlot, index int) {
	c, live := &a.cfg, a.live()
	first := 0
	for _, t := range live {
		first += a.ranks[t.name]
	}
	last := c.TargetR * len(live)
	left := 1 - float64(index-c.TInit)/float64(*c.TotalStep-c.TFinal-c.TInit)
	budget := int(float64(first-last)*left*left*left + float64(last))
	if budget >= first || len(s.Sensitivity) == 0 {
		return
	}
	var all []float32
	scores := make([][]float32, len(live))
	for i, t := range live {
		r := a.ranks[t.name]
		score := make([]float32, r)
		element := func(p, j int) float64 { return float64(s.Sensitivity[3*i+p][j]) * float64(s.Uncertainty[3*i+p][j]) }
		for k := range r {
			sa, sb := 0.0, 0.0
			for j := range t.in {
				sa += element(1, k*t.in+j)
			}
			for o := range t.out {
				sb += element(2, o*r+k)
			}
			score[k] = float32(element(0, k) + sa/float64(t.in) + sb/float64(t.out))
		}
		scores[i] = score
		all = append(all, score...)
	}
	slices.Sort(all)
	threshold := all[first-budget-1]
	s.Keep = make([][]bool, len(live))
	for i, t := range live {
		for _, x := range scores[i] {
			s.Keep[i] = append(s.Keep[i], x > threshold)
		}
		maskTriplets(params.Get(t.params[0].Name).Slot(slot), s.Keep[i])
	}
}

func maskTriplets(e []float32, keep []bool) {
	for k := range e {
		if !keep[k] {
			e[k] = 0
		}
	}
}

// adaState is what a checkpoint keeps.
type adaState struct {
	Total int // total_step, 0 where no step was made
	Slots []*adaSlot
}

// State implements Stepper.
func (a *adalora) State() ([]byte, error) {
	st := adaState{Slots: a.slots}
	if a.cfg.TotalStep != nil {
		st.Total = *a.cfg.TotalStep
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(st); err != nil {
		return nil, fmt.Errorf("peft: ADALORA: %w", err)
	}
	return b.Bytes(), nil
}

// SetState implements Stepper.
func (a *adalora) SetState(raw []byte) error {
	var st adaState
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&st); err != nil {
		return fmt.Errorf("peft: ADALORA: the state of the rank allocation: %w", err)
	}
	for _, s := range st.Slots {
		if s.Keep != nil && len(s.Keep) != len(a.live()) {
			return fmt.Errorf("peft: ADALORA: the state of the rank allocation is for %d layers, the adapter has %d", len(s.Keep), len(a.live()))
		}
	}
	a.slots = st.Slots
	if st.Total > 0 {
		a.cfg.TotalStep = &st.Total
	}
	return nil
}

// saving implements storer: the slot's ranks go into rank_pattern, and total_step is what a run that reads the folder needs.
func (a *adalora) saving(slot int) {
	if a.cfg.TotalStep == nil {
		n := a.cfg.TInit + a.cfg.TFinal + 1
		a.cfg.TotalStep = &n
	}
	if s := a.slot(slot); s.Keep != nil {
		pattern := map[string][]bool{}
		for name, keep := range a.cfg.RankPattern {
			pattern[name] = keep
		}
		for i, t := range a.live() {
			pattern[t.name+".lora_E"] = s.Keep[i]
		}
		a.cfg.RankPattern = pattern
	}
}

// stored implements storer: only the triplets that are left.
func (a *adalora) stored(p *Param, v []float32, slot int) []safetensors.Tensor {
	s := a.slot(slot)
	if s.Keep == nil {
		return nil
	}
	for i, t := range a.live() {
		at := slices.Index(t.params, p)
		if at < 0 {
			continue
		}
		kept, out := 0, []float32{}
		for _, k := range s.Keep[i] {
			if k {
				kept++
			}
		}
		for j, x := range v {
			k := j / p.Cols
			if at == 2 {
				k = j % p.Cols
			}
			if s.Keep[i][k] {
				out = append(out, x)
			}
		}
		shape := []int{kept, p.Cols}
		if at == 2 {
			shape = []int{p.Rows, kept}
		}
		return []safetensors.Tensor{safetensors.F32(p.Key, out, shape...)}
	}
	return nil
}

// restored implements storer.
func (a *adalora) restored(*Param, *safetensors.File, string) ([]float32, []string, error) {
	return nil, nil, nil
}
