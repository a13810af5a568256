package peft

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// LoraConfig is HF's LoraConfig.
type LoraConfig struct {
	Common
	R                     int            `json:"r"`
	TargetModules         Names          `json:"target_modules"`
	ExcludeModules        Names          `json:"exclude_modules"`
	LoraAlpha             float64        `json:"lora_alpha"`
	LoraDropout           Float          `json:"lora_dropout"`
	FanInFanOut           bool           `json:"fan_in_fan_out"`
	Bias                  string         `json:"bias"`
	UseRslora             bool           `json:"use_rslora"`
	ModulesToSave         []string       `json:"modules_to_save"`
	InitLoraWeights       InitWeights    `json:"init_lora_weights"`
	LayersToTransform     Ints           `json:"layers_to_transform"`
	LayersPattern         Names          `json:"layers_pattern"`
	RankPattern           Patterns       `json:"rank_pattern"`
	AlphaPattern          Patterns       `json:"alpha_pattern"`
	TrainableTokenIndices Tokens         `json:"trainable_token_indices"`
	UseDora               bool           `json:"use_dora"`
	LoraBias              bool           `json:"lora_bias"`
	AloraInvocationTokens []int32        `json:"alora_invocation_tokens"`
	LayerReplication      [][2]int       `json:"layer_replication"`
	TargetParameters      []string       `json:"target_parameters"`
	LoftqConfig           map[string]int `json:"loftq_config"`
	EvaConfig             *EvaConfig     `json:"eva_config"`
}

// loraUnused are the fields of HF's LoraConfig that only their defaults are accepted for.
var loraUnused = map[string]any{
	"arrow_config": nil, "corda_config": nil, "ensure_weight_tying": false, "kasa_config": nil, "lora_ga_config": nil, "megatron_config": nil, "megatron_core": "megatron.core",
	"monteclora_config": nil, "qalora_group_size": 16.0, "use_bdlora": nil, "use_qalora": false, "velora_config": nil,
	"-runtime_config": map[string]any{"ephemeral_gpu_offload": false},
}

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
func (l *lora) common() *Common           { return &l.cfg.Common }
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

func (l *lora) validate() error {
	c := &l.cfg
	switch {
	case c.R <= 0:
		return fmt.Errorf("peft: LORA: r = %d; the rank must be at least 1", c.R)
	case !(c.LoraDropout >= 0 && c.LoraDropout < 1):
		return fmt.Errorf("peft: LORA: lora_dropout = %g; it must be in [0, 1)", float64(c.LoraDropout))
	case c.Bias != "none" && c.Bias != "all" && c.Bias != "lora_only":
		return fmt.Errorf("peft: LORA: bias = %q; it must be \"none\", \"all\" or \"lora_only\"", c.Bias)
	}
	if err := c.validateVariants(); err != nil {
		return err
	}
	for _, p := range c.RankPattern {
		if p.Value < 1 || p.Value != math.Trunc(p.Value) {
			return fmt.Errorf("peft: LORA: rank_pattern[%q] = %g; a rank is a whole number of at least 1", p.Key, p.Value)
		}
	}
	return nil
}

// pattern returns the first value whose key matches the end of name, or def.
func pattern(field string, ps Patterns, name string, def float64) (float64, error) {
	for _, p := range ps {
		re, err := compilePy(field, p.Key, suffixMatch)
		if err != nil {
			return 0, err
		}
		if ok, err := re.match(name); err != nil {
			return 0, err
		} else if ok {
			return p.Value, nil
		}
	}
	return def, nil
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
	spec := targetSpec{Target: c.TargetModules, Exclude: c.ExcludeModules, Save: c.ModulesToSave, Layers: c.LayersToTransform, LayersPattern: c.LayersPattern}
	if _, err := newMatcher(spec); err != nil { // before "all-linear" becomes a list, which may have layers_to_transform
		return err
	}
	spec.Target = expandAllLinear(c.TargetModules, sites)
	c.TargetModules = spec.Target
	var targets []nn.Site
	if len(c.TargetParameters) == 0 || spec.Target.Pattern != "" || len(spec.Target.List) > 0 {
		if targets, err = matchSites("LORA", spec, sites); err != nil {
			return err
		}
	}
	if targets, err = l.addParameters(targets, sites); err != nil {
		return err
	}
	l.conv = map[string]bool{}
	for _, s := range targets {
		if err := l.attach(s, env); err != nil {
			return err
		}
		if o, ok := s.Op.(*nn.Linear); ok && o.Transposed {
			l.conv[s.Name] = true
		}
	}
	c.FanInFanOut = len(l.conv) > 0 // HF corrects the field to what the module is
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
	if c.Bias != "none" {
		all := func(string) bool { return true }
		want := l.isTarget
		if c.Bias == "all" {
			want = all
		}
		l.params = append(l.params, l.extra.biases(sites, want, l.isTarget)...)
	}
	if err := l.attachTokens(sites, env); err != nil {
		return err
	}
	l.attachFrozen(sites)
	return nil
}

// attach makes the pair of one target.
func (l *lora) attach(s nn.Site, env Env) error {
	c := &l.cfg
	var in, out int
	switch o := s.Op.(type) {
	case *nn.Linear:
		in, out = o.In, o.Out
	case *nn.Head:
		in, out = o.D, o.V
		if c.LoraDropout > 0 {
			return fmt.Errorf("peft: LORA: lora_dropout = %g with the head %s as a target: adaptflow has no dropout on the head's pair; "+
				"set lora_dropout: 0 or leave the head out of target_modules", float64(c.LoraDropout), s.Name)
		}
	case *nn.Embedding:
		in, out = o.V, o.D
	case *nn.PositionEmbedding:
		in, out = o.P, o.D
	default:
		return fmt.Errorf("peft: LORA: target %s is a %s; LoRA adapts linear layers, embeddings and the head", s.Name, s.Kind)
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
	lay, _ := layoutOf(s.Op)
	p := &pair{name: s.Name, kind: s.Kind, vocab: lay.vocab, r: int(r), alpha: alpha, scale: alpha / r, biasOf: lay.bias}
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

// attachTokens adds the rows of trainable_token_indices.
func (l *lora) attachTokens(sites []nn.Site, env Env) error {
	t := l.cfg.TrainableTokenIndices
	if !t.Set() {
		return nil
	}
	params, err := attachRows(l.extra, t, ".token_adapter.trainable_tokens_delta", sites, env.Tied, currentRows)
	if err != nil {
		return err
	}
	for name, x := range l.extra.at {
		if x.rows != nil && l.isTarget(name) {
			return fmt.Errorf("peft: LORA: %s is in target_modules and in trainable_token_indices; use one of them", name)
		}
	}
	l.params = append(l.params, params...)
	return nil
}

// attachFrozen lists the base embeddings that HF saves beside adapted ones: when target_modules names embed_tokens or
// lm_head (or, as a pattern, matches them) and no trainable tokens are used.
func (l *lora) attachFrozen(sites []nn.Site) {
	c := &l.cfg
	if c.TrainableTokenIndices.Set() {
		return
	}
	named := false
	for _, e := range []string{"embed_tokens", "lm_head"} {
		named = named || slices.Contains(c.TargetModules.List, e)
		if c.TargetModules.Pattern != "" {
			for _, n := range l.names {
				named = named || n == e || strings.HasSuffix(n, "."+e)
			}
		}
	}
	if !named {
		return
	}
	for _, s := range weighted(sites) {
		_, position := s.Op.(*nn.PositionEmbedding)
		if !l.isTarget(s.Name) || position || s.Kind != nn.KindEmbedding && s.Kind != nn.KindHead {
			continue
		}
		lay, _ := layoutOf(s.Op)
		l.frozen = append(l.frozen, Frozen{Key: prefix + s.Name + ".base_layer.weight", Shape: lay.shape(), Values: lay.weight})
		if lay.bias != nil && l.extra.at[s.Name].bias == nil {
			l.frozen = append(l.frozen, Frozen{Key: prefix + s.Name + ".base_layer.bias", Shape: []int{lay.biasLen},
				Values: func() []float32 { return slices.Clone(lay.bias) }})
		}
	}
}

// Adapt implements nn.Adapter.
func (l *lora) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	p := l.pairs[s.Name]
	if p == nil || p.kind != s.Kind {
		return l.extra.apply(b, s).Out
	}
	if p.base != nil {
		s = p.base.apply(b, s)
	}
	if p.dora != nil {
		return l.adaptDora(b, s, p)
	}
	y := l.extra.apply(b, s).Out
	switch o := s.Op.(type) {
	case *nn.Head:
		return y
	case *nn.Linear:
		op := &loraOp{name: s.Name, in: o.In, out: o.Out, r: p.r, scale: float32(p.scale), dropout: float32(l.cfg.LoraDropout),
			invocation: l.cfg.AloraInvocationTokens, cache: b.Cache()}
		in := []nn.Ref{y, s.In[0], p.a.param(b), p.b.param(b)}
		if p.bias != nil {
			in = append(in, p.bias.param(b))
		}
		return b.Apply(op, in...)
	case *nn.Embedding:
		op := &loraEmbeddingOp{v: o.V, d: o.D, r: p.r, scale: float32(p.scale) * scaleOf(o.Scale)}
		return b.Apply(op, y, p.a.param(b), p.b.param(b))
	case *nn.PositionEmbedding:
		op := &loraEmbeddingOp{v: o.P, d: o.D, r: p.r, scale: float32(p.scale), positions: true}
		return b.Apply(op, y, p.a.param(b), p.b.param(b))
	}
	panic(fmt.Sprintf("peft: site %s has become a %T since Attach", s.Name, s.Op))
}

// Merge implements Merger: W + scale·B·A in the base's layout, where W is what the starting values have made of the base's weight, and with DoRA its
// rows at their magnitudes. lora_bias is added to the module's bias.
func (l *lora) Merge(value func(string) []float32, base func(string) ([]float32, error)) (map[string][]float32, error) {
	if err := l.mergeable(); err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for _, name := range l.names {
		p := l.pairs[name]
		if l.tied && p.vocab {
			return nil, tiedMerge(name)
		}
		w, err := base(name + ".weight")
		if err != nil {
			return nil, fmt.Errorf("peft: merging %s: %w", name, err)
		}
		a, b := value(p.a.Name), value(p.b.Name)
		rows, cols := p.b.Rows, p.a.Cols // out, in
		if len(w) != rows*cols {
			return nil, fmt.Errorf("peft: merging %s: the base tensor has %d values, the adapter is for [%d, %d]", name, len(w), rows, cols)
		}
		m := slices.Clone(w)
		if p.base != nil {
			p.base.merge(m, l.conv[name])
		}
		if p.kind == nn.KindEmbedding || l.conv[name] { // stored [in, out]: Aᵀ·Bᵀ
			kernels.Gemm(nil, cols, rows, p.r, float32(p.scale), a, 1, cols, b, 1, p.r, 1, m, rows)
		} else {
			kernels.Gemm(nil, rows, cols, p.r, float32(p.scale), b, p.r, 1, a, cols, 1, 1, m, cols)
		}
		if p.dora != nil {
			p.dora.merge(m, value(p.dora.m.Name), p.kind == nn.KindEmbedding || l.conv[name])
		}
		out[name+".weight"] = m
	}
	if err := l.extra.merge(out, value, base, l.tied); err != nil {
		return nil, err
	}
	return out, l.mergeBias(out, value)
}
