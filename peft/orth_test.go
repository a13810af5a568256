package peft_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// usePrincipal gives PSOFT the singular vectors of the golden data: their signs are those of the LAPACK that made it, and no folder holds
// them.
func usePrincipal(t *testing.T, a *peft.Adapter, want golden.File) {
	t.Helper()
	for _, name := range a.Targets() {
		if key := "aux.base_model.model." + name + "._psoft_"; want.Has(key + "A_cache") {
			if err := peft.UsePrincipal(a, name, want.F32(key+"A_cache"), want.F32(key+"B_cache")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// withoutKeys leaves the key third out of GPT-2's c_attn.bias: its gradient is 0 but for rounding, which Adam makes as large as any other.
func withoutKeys(name string, v []float32) []float32 {
	if !strings.HasSuffix(name, "c_attn.bias") {
		return v
	}
	third := len(v) / 3
	return append(slices.Clone(v[:third]), v[2*third:]...)
}

// TestGoldenBitFit compares training the biases alone with torch's. The golden data is not an adapter folder; one is made of it.
func TestGoldenBitFit(t *testing.T) {
	root := golden.Root(t, "testdata")
	models := filepath.Join(root, "models")
	if _, err := os.Stat(models); err != nil {
		models = filepath.Join("..", "model", "testdata", "models")
	}
	ran := 0
	for _, name := range golden.Dirs(t, filepath.Join(root, "bitfit")) {
		ran++
		t.Run(name, func(t *testing.T) {
			from, dir := filepath.Join(root, "bitfit", name), t.TempDir()
			base := filepath.Join(models, name)
			m, err := model.Load(base)
			if err != nil {
				t.Fatal(err)
			}
			env := peft.Env{ModelType: m.Config.ModelType, BaseModel: "models/" + name}
			a, err := peft.New("BITFIT", nil, nn.Sites(m), env)
			if err != nil {
				t.Fatal(err)
			}
			const prefix = "base_model.model."
			var saved []string
			copyTo := func(to string, f golden.File, rename func(string) string) {
				var ts []safetensors.Tensor
				for _, n := range f.Names() {
					ts = append(ts, safetensors.F32(rename(n), f.F32(n), f.Shape(n)...))
				}
				if err := safetensors.Write(to, ts, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(dir, "adapter"), 0o755); err != nil {
				t.Fatal(err)
			}
			copyTo(filepath.Join(dir, "adapter", peft.TensorFile), golden.Open(t, filepath.Join(from, "init.safetensors")),
				func(n string) string {
					saved = append(saved, prefix+n)
					return prefix + n
				})
			copyTo(filepath.Join(dir, "expected.safetensors"), golden.Open(t, filepath.Join(from, "expected.safetensors")),
				func(n string) string {
					for _, kind := range []string{"grad.", "final."} {
						if rest, ok := strings.CutPrefix(n, kind); ok {
							return kind + prefix + rest
						}
					}
					return n
				})
			if err := os.WriteFile(filepath.Join(dir, "adapter", peft.ConfigFile), a.ConfigJSON(), 0o644); err != nil {
				t.Fatal(err)
			}
			meta := golden.JSON[goldenMeta](t, filepath.Join(from, "meta.json"))
			slices.Sort(saved)
			meta.Saved = saved
			goldenCase(t, dir, base, base, "float32", meta)
		})
	}
	t.Logf("golden bitfit: %d cases ran", ran)
	if ran == 0 {
		t.Error("no case ran")
	}
}

// TestGoldenShiraMask draws the places of a SHiRA adapter of HF PEFT again, from the seed in its configuration.
func TestGoldenShiraMask(t *testing.T) {
	dir := filepath.Join("testdata", "peft", "llama_gqa", "shira", "adapter")
	raw, err := os.ReadFile(filepath.Join(dir, peft.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	a, err := peft.New("SHIRA", config, nn.Sites(base(t, "llama_gqa")), peft.Env{ModelType: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	f := golden.Open(t, filepath.Join(dir, peft.TensorFile))
	if len(a.Frozen()) == 0 {
		t.Fatal("no places")
	}
	for _, z := range a.Frozen() {
		want := f.I64(z.Key)
		for i, v := range z.Values() {
			if int64(v) != want[i] {
				t.Fatalf("%s: value %d is %g, HF's is %d", z.Key, i, v, want[i])
			}
		}
	}
}

// TestOrthogonalWrong asks for configurations that cannot be: the errors say what is wrong and what would be right.
func TestOrthogonalWrong(t *testing.T) {
	for _, c := range []struct {
		base   string
		method string
		config map[string]any
		want   string
	}{
		{"llama_gqa", "IA3", map[string]any{"target_modules": []string{"k_proj"}, "feedforward_modules": []string{"down_proj"}},
			"not in target_modules"},
		{"llama_gqa", "ROAD", map[string]any{"group_size": 48}, "which group_size = 48 does not divide"},
		{"llama_gqa", "ROAD", map[string]any{"variant": "road_3"}, "must be road_1, road_2 or road_4"},
		{"llama_gqa", "OFT", map[string]any{"r": 4}, "give one of them and set the other to 0"},
		{"gpt2", "OFT", map[string]any{"target_modules": []string{"c_attn"}}, "is a Conv1D"},
		{"gpt2", "ROAD", nil, "is a Conv1D"},
		{"llama_gqa", "BOFT", map[string]any{"boft_block_size": 5}, "blocks of 5"},
		{"llama_gqa", "BOFT", map[string]any{"boft_block_size": 4, "boft_n_butterfly_factor": 9}, "9 butterfly factors"},
		{"llama_gqa", "C3A", nil, "the largest that does is"},
		{"llama_gqa", "SHIRA", map[string]any{"r": 60}, "choose a smaller r"},
		{"llama_gqa", "PSOFT", map[string]any{"r": 500}, "r must be at most"},
		{"llama_gqa", "PSOFT", map[string]any{"psoft_svd": "fast"}, `must be "full" or "lowrank"`},
		{"llama_gqa", "HRA", map[string]any{"r": 0}, "must be at least 1"},
		{"llama_gqa", "BITFIT", nil, "have no biases"},
		{"llama_gqa", "LN_TUNING", map[string]any{"target_modules": []string{"ln_1"}}, "matches no module"},
		{"llama_gqa", "HRA", map[string]any{"apply_gs": true}, `the nearest known one is "apply_GS"`},
	} {
		m := base(t, c.base)
		_, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v on %s: error %v, want %q", c.method, c.config, c.base, err, c.want)
		}
	}
}

// TestBeftWithoutBias merges BEFT into layers that have no bias, which HF refuses too.
func TestBeftWithoutBias(t *testing.T) {
	m := base(t, "llama_gqa")
	a, err := peft.New("BEFT", nil, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
	if err != nil {
		t.Fatal(err)
	}
	params := nn.NewParams(1)
	defer params.Free()
	compileFor(t, m, a, params, nn.ModeScore, packed(5))
	if _, err := a.Merge(params, 0, nil); err == nil || !strings.Contains(err.Error(), "no bias that could hold") {
		t.Errorf("error %v", err)
	}
}
