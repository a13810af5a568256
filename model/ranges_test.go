package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRanges: numbers of config.json that would give NaN or nonsense are refused by name, in each family; what transformers' files have is
// not.
func TestRanges(t *testing.T) {
	for _, c := range []struct {
		model, key, value string
	}{
		{"llama_gqa", "rms_norm_eps", "-1"}, {"llama_gqa", "rms_norm_eps", "0"}, {"llama_gqa", "rms_norm_eps", "5"},
		{"llama_gqa", "rope_theta", "0"}, {"llama_gqa", "rope_theta", "-10000"},
		{"llama_gqa", "num_key_value_heads", "3"}, {"llama_gqa", "num_key_value_heads", "-2"}, {"llama_gqa", "head_dim", "-8"},
		{"llama_gqa", "head_dim", "7"},
		{"llama_gqa", "rope_scaling", `{"rope_type": "linear", "factor": 0}`},
		{"llama_gqa", "rope_scaling", `{"type": "linear", "factor": -2}`},
		{"llama_gqa", "rope_parameters", `{"rope_type": "default", "rope_theta": -1}`},
		{"llama3_rope", "rope_scaling",
			`{"rope_type": "llama3", "factor": 8, "low_freq_factor": 0, "high_freq_factor": 4, "original_max_position_embeddings": 64}`},
		{"gemma2", "attn_logit_softcapping", "-5"}, {"gemma2", "final_logit_softcapping", "0"}, {"gemma2", "query_pre_attn_scalar", "0"},
		{"gemma3_text", "rope_local_base_freq", "0"},
		{"gpt2", "layer_norm_epsilon", "0"}, {"gpt2", "n_head", "0"}, {"gptneox", "layer_norm_eps", "-1e-5"},
		{"gptneox", "rotary_emb_base", "0"}, {"gptneox", "rotary_pct", "1.5"},
		{"qwen2", "rms_norm_eps", "1e9"}, {"qwen2", "vocab_size", "-1"}, {"qwen2", "max_position_embeddings", "0"},
	} {
		raw, err := os.ReadFile(filepath.Join("testdata", "models", c.model, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var config map[string]json.RawMessage
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Describe(raw); err != nil {
			t.Errorf("%s: %v", c.model, err)
		}
		config[c.key] = json.RawMessage(c.value)
		if raw, err = json.Marshal(config); err != nil {
			t.Fatal(err)
		}
		_, _, err = Describe(raw)
		word := c.key
		if c.key == "num_key_value_heads" && c.value == "3" {
			word = "key/value heads"
		}
		if c.value == "7" {
			word = "heads of 7 elements"
		}
		if err == nil || !strings.Contains(err.Error(), "config.json") || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %s %s: %v", c.model, c.key, c.value, err)
		}
	}
}
