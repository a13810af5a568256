package peft_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestGoldenBottleneck compares logits, loss, gradients, a training trajectory and the folder with those of AdapterHub's library.
func TestGoldenBottleneck(t *testing.T) {
	root := golden.Root(t, "testdata")
	models := filepath.Join(root, "models")
	if _, err := os.Stat(models); err != nil {
		models = filepath.Join("..", "model", "testdata", "models")
	}
	ran := 0
	for _, m := range golden.Dirs(t, filepath.Join(root, "bottleneck")) {
		for _, c := range golden.Dirs(t, filepath.Join(root, "bottleneck", m)) {
			dir := filepath.Join(root, "bottleneck", m, c)
			meta := golden.JSON[goldenMeta](t, filepath.Join(dir, "meta.json"))
			meta.PeftType, meta.Merge.Why = "BOTTLENECK", "it is not a change of a weight"
			meta.Saved = golden.Open(t, peft.TensorPath(filepath.Join(dir, "adapter"))).Names()
			ran++
			t.Run(m+"/"+c, func(t *testing.T) {
				goldenCase(t, dir, filepath.Join(models, m), filepath.Join(models, m), "float32", meta)
			})
		}
	}
	t.Logf("golden bottleneck: %d cases ran, none out of scope", ran)
	if ran == 0 {
		t.Error("no case ran")
	}
}

// TestBottleneckPlaces looks at where the named configurations put adapters, and how wide they are.
func TestBottleneckPlaces(t *testing.T) {
	for _, c := range []struct {
		base    string
		config  map[string]any
		targets string
		params  int
	}{
		{"gpt2", nil, "transformer.h.0.mlp transformer.h.1.mlp", 2 * (2*4*64 + 4 + 64)}, // seq_bn, factor 16
		{"gpt2", map[string]any{"config": "pfeiffer"}, "transformer.h.0.mlp transformer.h.1.mlp", 2 * (2*4*64 + 4 + 64)},
		{"llama_gqa", map[string]any{"config": "houlsby", "leave_out": []int{0}}, "model.layers.1.self_attn model.layers.1.mlp",
			2 * (2*4*64 + 4 + 64)},
		{"llama_gqa", map[string]any{"config": "par_bn", "reduction_factor": map[string]any{"1": 8, "default": 100}},
			"model.layers.0.mlp model.layers.1.mlp",
			2*1*64 + 1 + 64 + 2*8*64 + 8 + 64}, // at least one wide
		{"llama_gqa", map[string]any{"config": "scaled_par_bn"}, "model.layers.0.mlp model.layers.1.mlp", 2 * (2*32*64 + 32 + 64 + 1)},
	} {
		m := base(t, c.base)
		a, err := peft.New("BOTTLENECK", c.config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
		if err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Join(a.Targets(), " "); got != c.targets || a.Trainable() != c.params {
			t.Errorf("%s %v: %d parameters at %s, want %d at %s", c.base, c.config, a.Trainable(), got, c.params, c.targets)
		}
	}
}

// TestBottleneckRefuses gives configurations and folders that cannot be used; the errors name what is wrong.
func TestBottleneckRefuses(t *testing.T) {
	m := base(t, "llama_gqa")
	for _, c := range []struct {
		config map[string]any
		word   string
	}{
		{map[string]any{"config": "pfeifer"}, "seq_bn"},
		{map[string]any{"reduction_facter": 2}, "reduction_factor"},
		{map[string]any{"reduction_factor": 0}, "reduction_factor"},
		{map[string]any{"reduction_factor": map[string]any{"0": 4}}, "default"},
		{map[string]any{"mh_adapter": false, "output_adapter": false}, "output_adapter"},
		{map[string]any{"non_linearity": "mish"}, "non_linearity"},
		{map[string]any{"original_ln_after": false}, "residual stream"},
		{map[string]any{"residual_before_ln": "post_add"}, "post_add"},
		{map[string]any{"ln_before": true}, "ln_before"},
		{map[string]any{"use_gating": true}, "use_gating"},
		{map[string]any{"inv_adapter": "nice"}, "inv_adapter"},
		{map[string]any{"stochastic_depth": 0.1}, "stochastic_depth"},
		{map[string]any{"scaling": "much"}, "scaling"},
		{map[string]any{"leave_out": []int{2}}, "leave_out"},
		{map[string]any{"config": "compacter"}, "phm_dim"}, // 64/32 is 2, which 4 does not divide
		{map[string]any{"config": "compacter", "shared_W_phm": true}, "shared_W_phm"},
		{map[string]any{"name": "a.b"}, "name"},
		{map[string]any{"hidden_size": 32}, "hidden_size"},
	} {
		if _, err := peft.New("BOTTLENECK", c.config, nn.Sites(m), peft.Env{ModelType: "llama"}); err == nil ||
			!strings.Contains(err.Error(), c.word) {
			t.Errorf("%v: %v, want an error with %q", c.config, err, c.word)
		}
	}

	a, err := peft.New("BOTTLENECK", nil, nn.Sites(m), peft.Env{ModelType: "llama", BaseModel: "base"})
	if err != nil {
		t.Fatal(err)
	}
	params := nn.NewParams(1)
	defer params.Free()
	compileFor(t, m, a, params, nn.ModeScore, packed(5))
	dir := filepath.Join(t.TempDir(), "a")
	if err := a.Save(dir, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
	card, _ := os.ReadFile(filepath.Join(dir, peft.CardFile))
	if !strings.Contains(string(card), "library_name: adapters\n") || !strings.Contains(string(card), "adapters.init(model)") {
		t.Errorf("the card does not say how AdapterHub's library loads the folder:\n%s", card)
	}
	if _, err := peft.Open(dir, nn.Sites(base(t, "gpt2")), peft.Env{ModelType: "gpt2", BaseModel: "other"}); err == nil ||
		!strings.Contains(err.Error(), "other") {
		t.Errorf("opened over another family: %v", err)
	}
	config := filepath.Join(dir, peft.ConfigFile)
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for old, word := range map[string]string{`"config": {`: "architecture", `adapters.1.3.0`: "version"} {
		changed := strings.Replace(string(raw), old,
			map[string]string{"architecture": `"config": {"architecture": "lora",`, "version": "3.2.1"}[word], 1)
		if err := os.WriteFile(config, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := peft.Open(dir, nn.Sites(m), peft.Env{ModelType: "llama"}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want an error with %q", old, err, word)
		}
	}
	if err := os.WriteFile(config, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(peft.TensorPath(dir), filepath.Join(dir, "pytorch_adapter.bin")); err != nil {
		t.Fatal(err)
	}
	if _, err := peft.Open(dir, nn.Sites(m), peft.Env{ModelType: "llama"}); err == nil || !strings.Contains(err.Error(), "pickle") ||
		!strings.Contains(err.Error(), "pytorch_adapter.bin") || !strings.Contains(err.Error(), "adapter.safetensors") {
		t.Errorf("a pickle: %v", err)
	}
}

// TestGoldenStack compares a Set of bottleneck adapters, all selected, with AdapterHub's Stack of them in the same order
// (interop/golden/stack.py).
func TestGoldenStack(t *testing.T) {
	root := filepath.Join("testdata", "stack")
	cases := golden.Dirs(t, root)
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			meta := golden.JSON[struct {
				Model    string   `json:"model"`
				Adapters []string `json:"adapters"`
			}](t, filepath.Join(root, name, "meta.json"))
			want := golden.Open(t, filepath.Join(root, name, "expected.safetensors"))
			m := base(t, meta.Model)
			ids := want.I64("input_ids")
			s, _ := nn.FromBatch(ids, nil, nil, 1, len(ids))
			logits := func(names []string, selected ...string) []float32 {
				set := &peft.Set{}
				for _, n := range names {
					a, err := peft.Open(filepath.Join(root, name, n), nn.Sites(m),
						peft.Env{ModelType: m.Config.ModelType, BaseModel: "models/" + meta.Model})
					if err != nil {
						t.Fatal(err)
					}
					if err := set.Add(n, a); err != nil {
						t.Fatal(err)
					}
				}
				slot, err := set.Select(selected...)
				if err != nil {
					t.Fatal(err)
				}
				params := nn.NewParams(1)
				defer params.Free()
				p, err := nn.Compile(m, set.Adapters(), params,
					nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: len(ids), S: len(ids), N: 1}, Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				s.Segments = []nn.Segment{{Start: 0, End: len(ids), Slot: slot}}
				return slices.Clone(p.Forward(s, false))
			}
			back := slices.Clone(meta.Adapters)
			slices.Reverse(back)
			for key, got := range map[string][]float32{"logits": logits(meta.Adapters, meta.Adapters...),
				"reversed": logits(back, meta.Adapters...),
				"base":     logits(meta.Adapters, peft.BaseName)} {
				if d := golden.MaxDiff(got, want.F32(key)); d > 2e-4 {
					t.Errorf("%s differs by %.1e", key, d)
				}
			}
			if d := golden.MaxDiff(want.F32("logits"), want.F32("reversed")); d < 1e-2 {
				t.Errorf("the order changes the logits by %.1e only, so this case shows nothing", d)
			}
		})
	}
	t.Logf("golden stacks: %d cases ran, none out of scope", len(cases))
	if len(cases) == 0 {
		t.Error("no case ran")
	}
}
