package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// EvaConfig is HF's EvaConfig.
type EvaConfig struct {
	Rho                  Float `json:"rho"`
	Tau                  Float `json:"tau"`
	UseLabelMask         bool  `json:"use_label_mask"`
	LabelMaskValue       int   `json:"label_mask_value"`
	Whiten               bool  `json:"whiten"`
	AdjustScalingFactors bool  `json:"adjust_scaling_factors"`
}

// defaultEva has HF's defaults.
func defaultEva() *EvaConfig {
	return &EvaConfig{Rho: 2, Tau: 0.99, UseLabelMask: true, LabelMaskValue: -100, AdjustScalingFactors: true}
}

// UnmarshalJSON reads an object over HF's defaults, or null.
func (e *EvaConfig) UnmarshalJSON(b []byte) error {
	type plain EvaConfig
	*e = *defaultEva()
	return decodeFields(b, (*plain)(e), nil)
}

func (e *EvaConfig) validate() error {
	switch {
	case !(e.Rho >= 1):
		return fmt.Errorf("peft: LORA: eva_config: rho is %g; it must be at least 1", float64(e.Rho))
	case !(e.Tau >= 0 && e.Tau <= 1):
		return fmt.Errorf("peft: LORA: eva_config: tau is %g; it must be in [0, 1]", float64(e.Tau))
	}
	return nil
}

// startEva starts A as ever and B at zero; InitializeEVA puts the directions of the activations into A.
func startEva(l *lora, p *pair, s nn.Site) error {
	if l.cfg.EvaConfig == nil {
		l.cfg.EvaConfig = defaultEva()
	}
	return l.cfg.EvaConfig.validate()
}

// EvaBatch is one batch of the data whose activations InitializeEVA decomposes.
type EvaBatch struct {
	Step *nn.Step
	Keep []bool // [T] the tokens that count; nil for all. HF leaves out those whose label is masked (use_label_mask)
}

// NeedsData says whether the adapter is to be initialised from data before it is trained, by InitializeEVA.
func (a *Adapter) NeedsData() bool {
	l, ok := a.Method.(*lora)
	return ok && a.loaded == nil && l.init != nil && l.init.name == "eva" && !l.ready
}

// EVA is the configuration of an adapter that NeedsData.
func (a *Adapter) EVA() *EvaConfig { return a.Method.(*lora).cfg.EvaConfig }

// EvaProgress is how far InitializeEVA is.
type EvaProgress struct {
	Batch  int // the one that comes, counted from 1
	Most   int // batches after which it gives up
	Still  int // inputs whose directions stand still, over which the end is decided
	Inputs int // inputs that are decomposed; modules with the same input share one
}

// evaPasses bounds how often InitializeEVA goes over the data.
const evaPasses = 100

// InitializeEVA decomposes the activations of an adapter with init_lora_weights "eva" over the batches, again and again until the
// directions stand still, as HF's initialize_lora_eva_weights: A starts as the principal directions of each module's input, and the ranks,
// whose sum stays, go to the modules whose directions explain most (rho); rank_pattern, alpha_pattern and target_modules change
// accordingly. Call it before the adapter is compiled. note, if not nil, hears before each batch how far the work is, and may end it by an
// error.
func (a *Adapter) InitializeEVA(w nn.Wiring, threads *pool.Pool, batches []EvaBatch, note func(EvaProgress) error) error {
	l, ok := a.Method.(*lora)
	if !ok || l.init == nil || l.init.name != "eva" {
		return fmt.Errorf("peft: InitializeEVA is for LoRA with init_lora_weights \"eva\"")
	}
	if len(batches) == 0 {
		return fmt.Errorf("peft: LORA: eva: no data to initialise from")
	}
	cfg := l.cfg.EvaConfig
	probe := &evaProbe{layers: map[string]*evaLayer{}}
	var names []string // of linear modules, in the order of the sites
	budget := 0
	first := map[nn.Ref]string{} // of modules with the same input
	leader := map[string]string{}
	for _, s := range a.sites {
		p := l.pairs[s.Name]
		if p == nil || p.kind != s.Kind || s.Kind == nn.KindEmbedding || leader[s.Name] != "" {
			continue
		}
		names = append(names, s.Name)
		budget += p.r
		lead, ok := first[s.In[0]]
		if !ok {
			lead = s.Name
			first[s.In[0]] = lead
			probe.layers[lead] = &evaLayer{name: lead}
		}
		leader[s.Name] = lead
		y := probe.layers[lead]
		y.components = max(y.components, int(math.RoundToEven(float64(p.r)*float64(cfg.Rho))))
	}
	rank := map[string]int{}
	caps := nn.Caps{}
	for _, n := range names {
		y := probe.layers[leader[n]]
		y.converged = make([]bool, y.components)
		rank[n] = y.components
	}
	for _, b := range batches {
		caps.T, caps.S, caps.N = max(caps.T, len(b.Step.Tokens)), max(caps.S, len(b.Step.Rows)), max(caps.N, len(b.Step.Docs))
	}
	params := nn.NewParams(1)
	defer params.Free()
	prog, err := nn.Compile(w, []nn.Adapter{probe, replicate{a}}, params,
		nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: caps.T, S: 1, N: caps.N}, Pool: threads})
	if err != nil {
		return err
	}
	defer prog.Close()
	for turn := 0; ; turn++ {
		at := EvaProgress{Batch: turn + 1, Most: evaPasses * len(batches), Inputs: len(probe.layers)}
		for _, n := range names {
			if leader[n] != n {
				continue
			}
			y := probe.layers[n]
			still := true
			for _, c := range y.converged[:rank[n]] {
				still = still && c
			}
			if y.done = still; still {
				at.Still++
			}
		}
		if at.Still == at.Inputs {
			break
		}
		if turn == at.Most {
			return fmt.Errorf("peft: LORA: eva: the directions still turn after %d passes over the data: lower tau or rho, or give more "+
				"data", evaPasses)
		}
		if note != nil {
			if err := note(at); err != nil {
				return err
			}
		}
		b := batches[turn%len(batches)]
		step := *b.Step
		step.Rows, step.Labels = []int32{0}, nil // no logits are needed
		probe.keep = b.Keep
		prog.Forward(&step, false)
		ready := true // every module has a decomposition
		for _, n := range names {
			y := probe.layers[n]
			if y == nil {
				continue
			}
			if !y.done {
				if err := y.step(float64(cfg.Tau)); err != nil {
					return err
				}
			}
			ready = ready && y.pca != nil
		}
		if ready {
			rank = evaRanks(names, leader, probe.layers, budget)
		}
	}
	return a.eva(l, names, leader, probe.layers, rank)
}
