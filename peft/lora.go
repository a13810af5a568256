package peft

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// pair is the pair of matrices at one module.
type pair struct {
	name  string
	kind  nn.Kind
	vocab bool // the embedding or the head
	r     int
	alpha float64
	scale float64 // lora_alpha / r, or lora_alpha / √r with use_rslora
	a, b  *Param
	bias  *Param  // of B, with lora_bias
	base  *rebase // the base's weight, where the starting values change it
	dora  *dora

	tied *pair // the embedding's pair, of which this of the head is the transpose; a and b are nil

	biasOf []float32 // the module's own bias in the base, nil for none
}

// lora is LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685): beside a frozen
// weight W [out, in] two matrices A [r, in] and B [out, r] are trained, y = W·x + (alpha/r)·B·A·x. With use_rslora the factor is
// alpha/√r (Kalajdzievski 2023, arXiv:2312.03732).
type lora struct {
	cfg    LoraConfig
	extra  *extras
	pairs  map[string]*pair
	names  []string
	params []*Param
	frozen []Frozen
	tied   bool
	tying  *tie            // ensure_weight_tying
	conv   map[string]bool // targets stored as [in, out]
	init   *loraInit
	seed   uint64
	ready  bool // initialised from data
}

func newLora() Method {
	return &lora{cfg: LoraConfig{Common: Common{PeftType: "LORA", PeftVersion: peftVersion}, R: 8, LoraAlpha: 8, Bias: "none",
		InitLoraWeights: InitWeights{On: true}, RankPattern: Patterns{}, AlphaPattern: Patterns{},
		LoftqConfig: map[string]int{}}}
}

func (l *lora) Type() string              { return "LORA" }
func (l *lora) Config() any               { return &l.cfg }
func (l *lora) unused() map[string]any    { return loraUnused }
func (l *lora) Params() []*Param          { return l.params }
func (l *lora) Frozen() []Frozen          { return l.frozen }
func (l *lora) Targets() []string         { return slices.Clone(l.names) }
func (l *lora) isTarget(name string) bool { return l.pairs[name] != nil }

// Segmentable is false where a part of the base is trained itself, of which there is one copy in a step, and where the starting values or
// layer_replication changed the base, which no segment has then.
func (l *lora) Segmentable() bool {
	if l.cfg.LayerReplication != nil {
		return false
	}
	for _, p := range l.pairs {
		if p.base != nil {
			return false
		}
	}
	for _, t := range l.extra.at {
		if t.weight != nil || t.bias != nil || t.kind == nn.KindHead {
			return false
		}
	}
	return true
}

// Attach implements Method.
func (l *lora) Attach(sites []nn.Site, env Env) error {
	c := &l.cfg
	if err := l.validate(); err != nil {
		return err
	}
	l.extra, l.pairs, l.tied = newExtras(), map[string]*pair{}, env.Tied
	l.seed = env.Seed
	var err error
	if l.init, err = loraInitOf(c.InitLoraWeights); err != nil {
		return err
	}
	if t, err := targetsFor("LORA", env.ModelType); !c.TargetModules.Set() && (err == nil || len(c.TargetParameters) == 0) {
		if err != nil {
			return err
		}
		c.TargetModules = t
	}
	if l.tying, err = c.weightTying(sites, env.Tied); err != nil {
		return err
	}
	targets, err := l.targets(sites)
	if err != nil {
		return err
	}
	l.conv = map[string]bool{}
	for _, s := range targets {
		if l.tying != nil && !l.tying.save && s.Name == l.tying.head {
			continue // a pattern may name it, too
		}
		if err := l.attach(s, env); err != nil {
			return err
		}
		if lay, _ := layoutOf(s.Op); lay.Transposed {
			l.conv[s.Name] = true
		}
	}
	if l.tying != nil && !l.tying.save {
		i := slices.IndexFunc(sites, func(s nn.Site) bool { return s.Kind == nn.KindHead })
		if err := l.tieTarget(sites[i]); err != nil {
			return err
		}
	}
	c.FanInFanOut = len(l.conv) > 0 // HF corrects the field to what the module is
	if err := l.attachTrained(sites); err != nil {
		return err
	}
	if err := l.attachTokens(sites, env); err != nil {
		return err
	}
	l.attachFrozen(sites)
	return nil
}

// targets are the sites that the configuration names.
func (l *lora) targets(sites []nn.Site) ([]nn.Site, error) {
	c := &l.cfg
	spec := targetSpec{Target: c.TargetModules, Exclude: c.ExcludeModules, Save: c.ModulesToSave, Layers: c.LayersToTransform,
		LayersPattern: c.LayersPattern}
	if _, err := newMatcher(spec); err != nil { // before "all-linear" becomes a list, which may have layers_to_transform
		return nil, err
	}
	spec.Target = expandAllLinear(c.TargetModules, sites)
	c.TargetModules = spec.Target
	var targets []nn.Site
	if len(c.TargetParameters) == 0 || spec.Target.Pattern != "" || len(spec.Target.List) > 0 {
		var err error
		if targets, err = matchSites("LORA", spec, sites); err != nil {
			return nil, err
		}
	}
	return l.addParameters(targets, sites)
}

// attachTrained adds what is trained of the base beside the pairs: modules_to_save and biases.
func (l *lora) attachTrained(sites []nn.Site) error {
	c := &l.cfg
	saved, err := l.extra.save(c.ModulesToSave, sites)
	if err != nil {
		return err
	}
	for _, p := range saved {
		for _, t := range l.names {
			if strings.HasPrefix(p.Key, prefix+t+".") {
				return fmt.Errorf("peft: LORA: %s is in target_modules and in modules_to_save; give its full name in only one of them", t)
			}
		}
	}
	l.params = append(l.params, saved...)
	if l.tying != nil && l.tying.save {
		l.tieSaved(sites)
	}
	if c.Bias != "none" {
		all := func(string) bool { return true }
		want := l.isTarget
		if c.Bias == "all" {
			want = all
		}
		l.params = append(l.params, l.extra.biases(sites, want, l.isTarget)...)
	}
	return nil
}

func noHeadDropout(c *LoraConfig, head string) error {
	return fmt.Errorf("peft: LORA: lora_dropout = %g with the head %s as a target: adaptflow has no dropout on the head's pair; "+
		"set lora_dropout: 0 or leave the head out of target_modules", float64(c.LoraDropout), head)
}

// attach makes the pair of one target.
func (l *lora) attach(s nn.Site, env Env) error {
	c := &l.cfg
	lay, ok := layoutOf(s.Op)
	in, out := lay.Cols, lay.Rows
	switch {
	case !ok || lay.Vector:
		return fmt.Errorf("peft: LORA: target %s is a %s; LoRA adapts linear layers, embeddings and the head", s.Name, s.Kind)
	case s.Kind == nn.KindHead && c.LoraDropout > 0:
		return noHeadDropout(c, s.Name)
	case lay.Lookup || lay.Transposed:
		in, out = lay.Rows, lay.Cols
	}
	r, err := pattern("rank_pattern", c.RankPattern, s.Name, float64(c.R))
	if err != nil {
		return err
	}
	if err := rankFits("LORA", "r", int(r), in, out, s.Name); err != nil {
		return err
	}
	alpha, err := pattern("alpha_pattern", c.AlphaPattern, s.Name, c.LoraAlpha)
	if err != nil {
		return err
	}
	p := &pair{name: s.Name, kind: s.Kind, vocab: lay.Vocab, r: int(r), alpha: alpha, scale: alpha / r, biasOf: lay.Bias}
	if c.UseRslora {
		p.scale = alpha / math.Sqrt(r)
	}
	na, nb := prefix+s.Name+".lora_A.weight", prefix+s.Name+".lora_B.weight"
	if s.Kind == nn.KindEmbedding {
		na, nb = prefix+s.Name+".lora_embedding_A", prefix+s.Name+".lora_embedding_B"
	}
	p.a = &Param{Name: na, Key: na, Rows: p.r, Cols: in, Shape: []int{p.r, in}}
	p.b = &Param{Name: nb, Key: nb, Rows: out, Cols: p.r, Shape: []int{out, p.r}}
	if err := l.start(p, s, env); err != nil {
		return err
	}
	l.pairs[s.Name] = p
	l.names = append(l.names, s.Name)
	l.params = append(l.params, p.a, p.b)
	if err := l.attachVariant(p, s); err != nil {
		return err
	}
	if s.Kind == nn.KindHead {
		l.extra.site(s).pair = p
	}
	return nil
}
