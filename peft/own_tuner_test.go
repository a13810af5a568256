package peft_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// scaled is a method as a program of another module writes it: the layer's input is multiplied by a trained matrix, from zeros on.
type scaled struct {
	peft.Tuner
	cfg struct {
		peft.Common
		peft.TargetFields
		peft.LayerFields
		peft.BiasFields
		Gain peft.Float `json:"gain" help:"a factor"`
	}
}

func (m *scaled) Config() any { return &m.cfg }

func (m *scaled) Attach(sites []nn.Site, env peft.Env) error {
	return m.Tune("SCALED", &m.cfg, sites, env, func(l *peft.Layer) (peft.Wire, error) {
		l.Param("scaled_w", l.Uniform("scaled_w", env.Seed, l.In), l.Out, l.In)
		return func(b *nn.Builder, s nn.Site, p []nn.Ref) nn.Ref {
			return b.Apply(nn.Add{}, s.Out, b.Apply(&nn.Linear{In: l.In, Out: l.Out, TrainW: true}, s.In[0], p[0]))
		}, nil
	})
}

// TestTuner: a method of another package has modules, layers, biases, modules_to_save and a folder as the package's own have.
func TestTuner(t *testing.T) {
	before := peft.Methods
	defer func() { peft.Methods = before }()
	peft.Register(peft.Row{Type: "SCALED", Doc: "a test", New: func() peft.Method {
		m := &scaled{}
		m.cfg.Bias, m.cfg.Gain = "none", 1
		return m
	}})
	m := base(t, "qwen2")
	sites := nn.Sites(m)
	a, err := peft.New("scaled", map[string]any{"target_modules": []string{"q_proj", "up_proj"}, "layers_to_transform": []int{1},
		"modules_to_save": []string{"model.norm"}, "bias": "scaled_only", "gain": 2}, sites, peft.Env{ModelType: "qwen2", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"}
	if got := a.Targets(); !slices.Equal(got, want) || a.Type() != "SCALED" || a.Segmentable() {
		t.Errorf("%s %v, segmentable %v; want %v", a.Type(), got, a.Segmentable(), want)
	}
	var keys []string
	for _, p := range a.Params() {
		keys = append(keys, strings.TrimPrefix(p.Key, "base_model.model."))
	}
	slices.Sort(keys)
	if want := []string{"model.layers.1.mlp.up_proj.scaled_w", "model.layers.1.self_attn.q_proj.base_layer.bias",
		"model.layers.1.self_attn.q_proj.scaled_w", "model.norm.weight"}; !slices.Equal(keys, want) {
		t.Errorf("trained: %v, want %v", keys, want)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := a.Save(dir, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
	card, err := os.ReadFile(filepath.Join(dir, peft.CardFile))
	if text := string(card); err != nil || strings.Contains(text, "PeftModel") || !strings.Contains(text, "that registers SCALED opens") {
		t.Errorf("the card says (%v)\n%s", err, card)
	}
	b, err := peft.Open(dir, sites, peft.Env{ModelType: "qwen2", Seed: 8})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Free()
	for _, p := range params.List() {
		if q := again.Get(p.Name); q == nil || !slices.Equal(p.Slot(0), q.Slot(0)) {
			t.Errorf("%s is another one in the folder", p.Name)
		}
	}
	if b.Method.(*scaled).cfg.Gain != 2 {
		t.Errorf("the folder's gain is %g", b.Method.(*scaled).cfg.Gain)
	}
	for _, c := range []struct {
		config map[string]any
		words  string
	}{
		{map[string]any{"target_modules": []string{"q_prj"}}, "q_proj"},
		{map[string]any{"target_modules": "all-linear", "gains": 1}, `the nearest known one is "gain"`},
		{map[string]any{"target_modules": "all-linear", "bias": "lora_only"}, `it must be "none", "all" or "scaled_only"`},
	} {
		_, err := peft.New("SCALED", c.config, sites, peft.Env{ModelType: "qwen2"})
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%v: %v", c.config, err)
		}
	}
}
