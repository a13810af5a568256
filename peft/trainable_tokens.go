package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// TrainableTokensConfig is HF's TrainableTokensConfig.
type TrainableTokensConfig struct {
	Common
	TokenIndices  []int `json:"token_indices"`
	TargetModules Names `json:"target_modules"`
	InitWeights   bool  `json:"init_weights"`
}

// trainableTokens trains chosen rows of the embedding and leaves the others: w[id] is replaced by a parameter that starts
// at the base's row, or at random numbers with init_weights: false. A tied head uses the same rows.
type trainableTokens struct {
	cfg    TrainableTokensConfig
	extra  *extras
	names  []string
	params []*Param
}

func newTrainableTokens() Method {
	return &trainableTokens{cfg: TrainableTokensConfig{Common: Common{PeftType: "TRAINABLE_TOKENS", PeftVersion: peftVersion},
		TokenIndices: []int{}, InitWeights: true}}
}

func (t *trainableTokens) Type() string      { return "TRAINABLE_TOKENS" }
func (t *trainableTokens) Config() any       { return &t.cfg }
func (t *trainableTokens) Params() []*Param  { return t.params }
func (t *trainableTokens) Frozen() []Frozen  { return nil }
func (t *trainableTokens) Targets() []string { return slices.Clone(t.names) }

// Segmentable is false where the head uses the rows, of which it has one set a step.
func (t *trainableTokens) Segmentable() bool {
	for _, x := range t.extra.at {
		if x.kind == nn.KindHead {
			return false
		}
	}
	return true
}

// Attach implements Method.
func (t *trainableTokens) Attach(sites []nn.Site, env Env) error {
	t.extra = newExtras()
	target := t.cfg.TargetModules
	if !target.Set() {
		for _, s := range sites {
			if embedsTokens(s) && !target.Set() {
				target = Names{List: []string{s.Name[lastDot(s.Name)+1:]}}
			}
		}
		t.cfg.TargetModules = target
	}
	found, err := matchSites(t.Type(), targetSpec{Target: target}, sites)
	if err != nil {
		return err
	}
	by := map[string][]int{}
	for _, s := range found {
		by[s.Name] = t.cfg.TokenIndices
		t.names = append(t.names, s.Name)
	}
	init := currentRows
	if !t.cfg.InitWeights {
		init = func([]int) func(string, layout) func([]float32) {
			return func(name string, _ layout) func([]float32) { return normal(env.Seed, name, 1) }
		}
	}
	t.params, err = attachRows(t.extra, Tokens{ByModule: by}, ".trainable_tokens_delta", sites, env.Tied, init)
	return err
}

// Adapt implements nn.Adapter.
func (t *trainableTokens) Adapt(b *nn.Builder, s nn.Site) nn.Ref { return t.extra.apply(b, s).Out }

// Merge implements Merger.
func (t *trainableTokens) Merge(value func(string) []float32, base func(string) ([]float32, error),
	want Wanted) (map[string][]float32, error) {
	out := map[string][]float32{}
	err := t.extra.merge(out, value, base, want)
	return out, err
}

func lastDot(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}

// attachRows adds trainable rows as HF's set_additional_trainable_modules does: a list is for the input embedding; where
// the head is tied to it, the head uses the same rows unless it names others.
func attachRows(x *extras, t Tokens, suffix string, sites []nn.Site, tied bool,
	init func(ids []int) func(string, layout) func([]float32)) ([]*Param, error) {
	var embedding, head *nn.Site
	for _, s := range sites {
		switch {
		case s.Kind == nn.KindHead:
			head = &s
		case embedding == nil && embedsTokens(s):
			embedding = &s
		}
	}
	if embedding == nil {
		return nil, fmt.Errorf("peft: the base model has no embedding for trainable tokens")
	}
	by := t.ByModule
	if by == nil {
		by = map[string][]int{embedding.Name: t.List}
	}
	find := func(name string) (nn.Site, bool) {
		for _, s := range []*nn.Site{embedding, head} {
			if s != nil && named([]string{name}, s.Name) {
				return *s, true
			}
		}
		return nn.Site{}, false
	}
	ids := map[string][]int{} // by full name
	for _, name := range sortedKeys(by) {
		s, ok := find(name)
		if !ok {
			return nil, noTarget("trainable_token_indices", []string{name}, sites)
		}
		if ids[s.Name] != nil {
			return nil, fmt.Errorf("peft: the trainable tokens of %s are named twice", s.Name)
		}
		ids[s.Name] = by[name]
	}
	share := tied && head != nil && ids[embedding.Name] != nil
	if share && ids[head.Name] != nil {
		if slices.Equal(ids[head.Name], ids[embedding.Name]) {
			delete(ids, head.Name)
		} else {
			share = false
		}
	}
	var out []*Param
	for _, s := range []*nn.Site{embedding, head} {
		if s == nil || ids[s.Name] == nil {
			continue
		}
		p, err := x.tokens(*s, ids[s.Name], suffix, init(ids[s.Name]))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if share {
		x.shareRows(*head, x.at[embedding.Name])
	}
	return out, nil
}

// unties implements untier.
func (t *trainableTokens) unties() bool { return t.extra.unties() }
