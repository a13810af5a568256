package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// IA3Config is HF's IA3Config.
type IA3Config struct {
	Common
	TargetFields
	ExcludeFields
	FanFields
	FeedforwardModules Names `json:"feedforward_modules"`
	InitIA3Weights     bool  `json:"init_ia3_weights"`
}

// ia3 is (IA)³, "Infused Adapter by Inhibiting and Amplifying Inner Activations" (Liu et al. 2022, arXiv:2205.05638): a vector l scales the
// output of a layer, y = l ⊙ (W·x + b), or in feedforward_modules its input, y = W·(l ⊙ x) + b. It starts at ones.
type ia3 struct {
	mergeTuner
	cfg IA3Config
}

func newIA3() Method {
	m := &ia3{cfg: IA3Config{Common: newCommon("IA3"), InitIA3Weights: true}}
	m.method = "IA3"
	return m
}

func (m *ia3) Config() any { return &m.cfg }

// ia3Feedforward are HF's feedforward_modules where none are given, by model_type.
var ia3Feedforward = map[string]string{
	"gemma": "down_proj", "gemma2": "down_proj", "gemma3_text": "down_proj", "gpt2": "mlp.c_proj", "gpt_neox": "dense_4h_to_h",
	"llama": "down_proj", "mistral": "down_proj", "opt": "fc2", "phi": "fc2", "qwen2": "down_proj", "qwen3": "down_proj",
}

// feedforward finds feedforward_modules and says which modules they are. HF compares the ends of names, not whole parts of them.
func (m *ia3) feedforward(modelType string) (func(name string) (bool, error), error) {
	c := &m.cfg
	if !c.FeedforwardModules.Set() {
		f, ok := ia3Feedforward[modelType]
		if !ok {
			return nil, fmt.Errorf("peft: IA3: feedforward_modules must be given for a model of type %q; [] if there are none", modelType)
		}
		c.FeedforwardModules = Names{List: []string{f}}
	}
	if p := c.FeedforwardModules.Pattern; p != "" {
		re, err := compilePy("feedforward_modules", p, fullMatch)
		if err != nil {
			return nil, err
		}
		return re.match, nil
	}
	list := c.FeedforwardModules.List
	if c.TargetModules.List != nil {
		for _, f := range list {
			if !slices.Contains(c.TargetModules.List, f) {
				return nil, fmt.Errorf("peft: IA3: feedforward_modules has %q, which is not in target_modules; every one of them must be",
					f)
			}
		}
	}
	return func(name string) (bool, error) {
		return slices.ContainsFunc(list, func(f string) bool { return strings.HasSuffix(name, f) }), nil
	}, nil
}

// Attach implements Method.
func (m *ia3) Attach(sites []nn.Site, env Env) error {
	inner, err := m.feedforward(env.ModelType)
	if err != nil {
		return err
	}
	return m.attach(&m.cfg, sites, env, func(t *target) error {
		in, err := inner(t.name)
		if err != nil {
			return err
		}
		init := ones
		if !m.cfg.InitIA3Weights {
			init = normal(env.Seed, t.key("ia3_l"), 1)
		}
		if in {
			t.param("ia3_l", init, 1, t.in)
			t.form = &inputTransform{transform: columnScale(t.in, 0, nil), fold: func(t *target, p [][]float32, w, _ []float32) error {
				for i := range w {
					w[i] *= p[0][i%t.in]
				}
				return nil
			}}
			return nil
		}
		t.param("ia3_l", init, t.out, 1)
		t.form = &outputTransform{transform: columnScale(t.out, 0, nil), fold: func(t *target, p [][]float32, w, bias []float32) error {
			for i := range w {
				w[i] *= p[0][i/t.in]
			}
			for i := range bias {
				bias[i] *= p[0][i]
			}
			return nil
		}}
		return nil
	})
}
