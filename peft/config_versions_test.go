package peft

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// TestConfigVersions reads what twelve versions of HF PEFT, from the first, write of every method's configuration
// (interop/golden/configs.py), and that of the newest with a field that none has: whatever an adapter does not use is no reason to refuse
// it.
func TestConfigVersions(t *testing.T) {
	read := 0
	for version, methods := range golden.JSON[map[string]map[string]map[string]any](t,
		filepath.Join("testdata", "configs", "versions.json")) {
		for method, fields := range methods {
			row, err := find(method)
			if err != nil {
				continue // not adaptflow's
			}
			for i, more := range []map[string]any{{}, {"brand_new_config": nil},
				{"a_list": []int{}, "a_switch": false, "an_object": map[string]any{}, "a_rate": 0.0, "a_name": ""}} {
				for k, v := range more {
					fields[k] = v
				}
				raw, err := json.Marshal(fields)
				if err != nil {
					t.Fatal(err)
				}
				for k := range more {
					delete(fields, k)
				}
				m := row.New()
				ignored, err := decodeConfig(method, raw, m.Config(), unusedOf(m), true)
				if err != nil {
					t.Errorf("PEFT %s, %s: %v", version, method, err)
				}
				for k := range more {
					if !slices.Contains(ignored, k) {
						t.Errorf("PEFT %s, %s: %s is not named among the ignored %v", version, method, k, ignored)
					}
				}
				if i > 0 {
					if _, err := decodeConfig(method, raw, row.New().Config(), unusedOf(m), false); err == nil {
						t.Errorf("%s: a new configuration with %v is taken", method, more)
					}
				}
				read++
			}
		}
	}
	if read < 300 {
		t.Errorf("%d configurations were read", read)
	}
}

// TestConfigFields opens a folder with single fields changed: ignored by name, or refused by name where they may change what the adapter
// computes.
func TestConfigFields(t *testing.T) {
	from := filepath.Join("testdata", "peft", "llama_gqa", "lora_regex", "adapter")
	for _, c := range []struct {
		field string
		value any
		taken bool
	}{
		{"brand_new_config", nil, true}, {"brand_new_switch", false, true}, {"brand_new_list", []int{}, true}, {"brand_new_rate", 0, true},
		{"brand_new_switch", true, false}, {"brand_new_rate", 0.5, false}, {"brand_new_config", map[string]any{"a": 1}, false},
		{"brand_new_name", "x", false},
		{"auto_mapping", map[string]any{"base_model_class": "LlamaForCausalLM",
			"parent_library": "transformers.models.llama.modeling_llama"}, true},
		{"merge_weights", true, true}, {"enable_lora", nil, true}, {"enable_lora", []bool{true, false, true}, false},
		{"peft_version", nil, true},
		{"use_bdlora", map[string]any{"nblocks": 2}, false}, {"use_qalora", true, false},
		{"arrow_config", map[string]any{"top_k": 2}, false},
		{"runtime_config", map[string]any{"ephemeral_gpu_offload": true}, true},
		{"corda_config", map[string]any{"corda_method": "kpm"}, true},
		{"task_type", nil, true},
	} {
		dir := filepath.Join(t.TempDir(), "adapter")
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		config := golden.JSON[map[string]any](t, filepath.Join(dir, ConfigFile))
		config[c.field] = c.value
		raw, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ConfigFile), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		cfg := LoraConfig{}
		ignored, err := decodeConfig("LORA", raw, &cfg, loraUnused, true)
		if slices.Contains(ignored, "megatron_core") {
			t.Error("megatron_core has its default and is said to be ignored")
		}
		switch {
		case c.taken && err != nil:
			t.Errorf("%s = %v: %v", c.field, c.value, err)
		case !c.taken && (err == nil || !strings.Contains(err.Error(), c.field) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s = %v: error %v, want one that names it", c.field, c.value, err)
		case c.taken && !slices.Equal(ignored, Ignored(dir)):
			t.Errorf("%s = %v: %v is ignored, but said to be %v", c.field, c.value, ignored, Ignored(dir))
		}
	}
}
