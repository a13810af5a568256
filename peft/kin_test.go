package peft_test

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestWrongMethodConfigurations names what is wrong and what would be right, for the fields that methods share and for their own.
func TestWrongMethodConfigurations(t *testing.T) {
	q := []string{"q_proj"}
	for name, c := range map[string]struct {
		base, method string
		config       map[string]any
		words        []string
	}{
		"rank of LORA": {"llama_gqa", "LORA", map[string]any{"r": 100000},
			[]string{"100000 is above the dimensions of", "the most that can help"}},
		"rank of HRA": {"llama_gqa", "HRA", map[string]any{"r": 100000},
			[]string{"100000 is above the dimensions of", "the most that can help"}},
		"rank of DELORA": {"llama_gqa", "DELORA", map[string]any{"r": 100000},
			[]string{"100000 is above the dimensions of", "the most that can help"}},
		"rank of HIRA": {"llama_gqa", "HIRA", map[string]any{"r": 100000},
			[]string{"100000 is above the dimensions of", "the most that can help"}},
		"rank of ADALORA": {"llama_gqa", "ADALORA", map[string]any{"init_r": 100000, "total_step": 100},
			[]string{"100000 is above the dimensions of", "the most that can help"}},
		"rank of LOHA": {"llama_gqa", "LOHA", map[string]any{"target_modules": q, "r": 100000},
			[]string{"100000 is above the dimensions of"}},
		"rank of GLORA": {"llama_gqa", "GLORA", map[string]any{"target_modules": q, "r": 100000},
			[]string{"100000 is above the dimensions of"}},
		"rank of LILY": {"llama_gqa", "LILY", map[string]any{"target_modules": q, "r": 100000},
			[]string{"100000 is above the dimensions of"}},
		"rank of RANDLORA": {"llama_gqa", "RANDLORA", map[string]any{"target_modules": q, "r": 100000},
			[]string{"100000 is above the dimensions of"}},
		"rank of GRALORA": {"llama_gqa", "GRALORA", map[string]any{"target_modules": q, "hybrid_r": 100000},
			[]string{"hybrid_r = 100000 is above"}},
		"factors of BOFT": {"llama_gqa", "BOFT", map[string]any{"target_modules": q, "boft_n_butterfly_factor": 1000000000},
			[]string{"1000000000 butterfly factors"}},
		"alpha 0 of LORA": {"llama_gqa", "LORA", map[string]any{"lora_alpha": 0}, []string{"lora_alpha = 0", "without effect"}},
		"alpha 0 of LOHA": {"llama_gqa", "LOHA", map[string]any{"target_modules": q, "alpha": 0},
			[]string{"alpha = 0", "without effect"}},
		"alpha 0 of LOKR": {"llama_gqa", "LOKR", map[string]any{"target_modules": q, "alpha": 0},
			[]string{"alpha = 0", "without effect"}},
		"alpha 0 of GRALORA": {"llama_gqa", "GRALORA", map[string]any{"target_modules": q, "alpha": 0},
			[]string{"alpha = 0", "without effect"}},
		"alpha 0 of RANDLORA": {"llama_gqa", "RANDLORA", map[string]any{"target_modules": q, "randlora_alpha": 0},
			[]string{"randlora_alpha = 0", "without effect"}},
		"scaling 0 of LILY": {"llama_gqa", "LILY", map[string]any{"target_modules": q, "scaling": 0},
			[]string{"scaling = 0", "without effect"}},
		"scaling 0 of FOURIERFT": {"llama_gqa", "FOURIERFT", map[string]any{"target_modules": q, "scaling": 0},
			[]string{"scaling = 0", "without effect"}},
		"scaling 0 of WAVEFT": {"llama_gqa", "WAVEFT", map[string]any{"target_modules": q, "scaling": 0},
			[]string{"scaling = 0", "without effect"}},
		"start 0 of VERA": {"llama_gqa", "VERA", map[string]any{"d_initial": 0}, []string{"d_initial = 0", "without effect"}},
		"start 0 of PVERA": {"llama_gqa", "PVERA", map[string]any{"target_modules": q, "d_initial": 0},
			[]string{"d_initial = 0", "without effect"}},
		"empty bank": {"llama_gqa", "VBLORA",
			map[string]any{"target_modules": q, "vector_length": 16, "init_vector_bank_bound": 0}, []string{"init_vector_bank_bound = 0"}},
		"spread below 0": {"llama_gqa", "VBLORA", map[string]any{"target_modules": q, "vector_length": 16, "init_logits_std": -1},
			[]string{"init_logits_std = -1", "negative"}},
		"bound below 0": {"llama_gqa", "TINYLORA", map[string]any{"target_modules": q, "init_v_bound": -1},
			[]string{"init_v_bound = -1", "negative"}},
		"no room for COFT": {"llama_gqa", "OFT", map[string]any{"target_modules": q, "coft": true, "eps": 0},
			[]string{"eps = 0", "above 0"}},
		"ball below 0": {"llama_gqa", "CPT", map[string]any{"cpt_token_ids": []int{1}, "opt_projection_epsilon": -1},
			[]string{"opt_projection_epsilon = -1", "negative"}},
		"decay below 0": {"llama_gqa", "CPT", map[string]any{"cpt_token_ids": []int{1}, "opt_loss_decay_factor": -1},
			[]string{"opt_loss_decay_factor = -1", "negative"}},
		"nearly all-linear": {"llama_gqa", "LORA", map[string]any{"target_modules": "all-liner"},
			[]string{`"all-liner"`, `did you mean "all-linear"`}},
		"a name for a pattern": {"llama_gqa", "LOHA", map[string]any{"target_modules": "q_proj"},
			[]string{"regular expression", "[q_proj]"}},
		"one of two targets": {"llama_gqa", "LORA", map[string]any{"target_modules": []string{"q_proj", "vproj"}},
			[]string{"vproj", "near names: v_proj"}},
		"excludes nothing": {"llama_gqa", "LORA", map[string]any{"target_modules": q, "exclude_modules": []string{"layerz"}},
			[]string{"exclude_modules", "layerz", "layers"}},
		"rank of nothing": {"llama_gqa", "LORA", map[string]any{"target_modules": q, "rank_pattern": map[string]int{"k_proj": 2}},
			[]string{"rank_pattern", "k_proj", "q_proj"}},
		"alpha of nothing": {"llama_gqa", "LOKR", map[string]any{"target_modules": q, "alpha_pattern": map[string]int{"qproj": 2}},
			[]string{"alpha_pattern", "qproj", "q_proj"}},
		"no bottleneck": {"llama_gqa", "BOTTLENECK", map[string]any{"config": "pfeifer"},
			[]string{"nearest known one is \"pfeiffer\""}},
		"bottleneck of nothing": {"llama_gqa", "BOTTLENECK", map[string]any{"scaling": 0}, []string{"scaling is 0"}},
		"nearly a method":       {"llama_gqa", "adalorra", nil, []string{"adalorra", "nearest known one is ADALORA"}},
		"setting of a tokenizer": {"llama_gqa", "PROMPT_TUNING",
			map[string]any{"num_virtual_tokens": 3, "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "a",
				"tokenizer_name_or_path":       "b",
				"prompt_tuning_init_token_ids": []int{1},
				"tokenizer_kwargs":             map[string]any{"padding_side": "left", "add_bos_token": false}},
			[]string{"tokenizer_kwargs", "add_bos_token"}},
		"prefix and window": {"gemma2", "PREFIX_TUNING", map[string]any{"num_virtual_tokens": 3},
			[]string{"sliding window of 6", "PROMPT_TUNING"}},
		"virtual tokens": {"llama_gqa", "PROMPT_TUNING", map[string]any{"num_virtual_tokens": -3},
			[]string{"num_virtual_tokens = -3", "at least 1"}},
		"matches nothing": {"llama_gqa", "VERA", map[string]any{"target_modules": []string{"query"}}, []string{"query", "q_proj"}},
		"the head": {"llama_gqa", "LOHA", map[string]any{"target_modules": []string{"lm_head"}},
			[]string{"LOHA", "lm_head", "linear layers"}},
		"an embedding": {"llama_gqa", "MISS", map[string]any{"target_modules": []string{"embed_tokens"}},
			[]string{"MISS", "embed_tokens"}},
		"Conv1D": {"gpt2", "LOKR", map[string]any{"target_modules": []string{"c_attn"}},
			[]string{"LOKR", "c_attn", "Conv1D"}},
		"target and saved": {"llama_gqa", "HIRA", map[string]any{"target_modules": q, "modules_to_save": []string{"self_attn"}},
			[]string{"target_modules"}},
		"bias": {"llama_gqa", "VERA", map[string]any{"target_modules": q, "bias": "some"}, []string{"bias", "vera_only"}},
		"field of another": {"llama_gqa", "VERA", map[string]any{"target_modules": q, "lora_alpha": 2},
			[]string{"lora_alpha", "nearest"}},
		"field of a convolution": {"llama_gqa", "LOHA", map[string]any{"target_modules": q, "use_effective_conv2d": true},
			[]string{"use_effective_conv2d"}},
		"rank 0": {"llama_gqa", "DELORA", map[string]any{"target_modules": q, "r": 0}, []string{"r = 0", "at least 1"}},
		"rank pattern": {"llama_gqa", "LOHA", map[string]any{"target_modules": q, "rank_pattern": map[string]any{"q_proj": 1.5}},
			[]string{"rank_pattern", "1.5"}},
		"dropout 1": {"llama_gqa", "PVERA", map[string]any{"target_modules": q, "pvera_dropout": 1.0},
			[]string{"pvera_dropout", "[0, 1)"}},
		"rank above the input": {"llama_gqa", "MISS", map[string]any{"target_modules": q, "r": 500}, []string{"r = 500", "inputs"}},
		"bat's blocks": {"llama_gqa", "MISS", map[string]any{"target_modules": q, "r": 7, "init_weights": "bat"},
			[]string{"bat", "r = 7"}},
		"form of MiSS": {"llama_gqa", "MISS", map[string]any{"target_modules": q, "init_weights": "bad"},
			[]string{"bad", "mini"}},
		"init of LoKr": {"llama_gqa", "LOKR", map[string]any{"target_modules": q, "init_weights": "licorice"},
			[]string{"licorice", "lycoris"}},
		"blocks of GraLoRA": {"llama_gqa", "GRALORA", map[string]any{"target_modules": q, "r": 8, "gralora_k": 3},
			[]string{"gralora_k = 3"}},
		"inputs of GraLoRA": {"llama_gqa", "GRALORA", map[string]any{"target_modules": q, "r": 9, "gralora_k": 3},
			[]string{"gralora_k = 3", "inputs"}},
		"sub-vectors": {"llama_gqa", "VBLORA", map[string]any{"target_modules": q, "vector_length": 48},
			[]string{"vector_length = 48", "divisor"}},
		"topk": {"llama_gqa", "VBLORA",
			map[string]any{"target_modules": q, "vector_length": 16, "num_vectors": 2, "topk": 3}, []string{"topk = 3"}},
		"path of GLoRA": {"llama_gqa", "GLORA", map[string]any{"target_modules": q, "config_A_B": "matrix"},
			[]string{"config_A_B", "vector"}},
		"too many frequencies": {"llama_gqa", "FOURIERFT", map[string]any{"target_modules": q, "n_frequency": 100000},
			[]string{"n_frequency", "4096"}},
		"wavelet": {"llama_gqa", "WAVEFT", map[string]any{"target_modules": q, "n_frequency": 10, "wavelet_family": "sym5"},
			[]string{"sym5", "db10"}},
		"tying": {"llama_gqa", "TINYLORA", map[string]any{"target_modules": q, "weight_tying": 2.0},
			[]string{"weight_tying", "[0, 1]"}},
		"ranks that grow": {"llama_gqa", "ADALORA", map[string]any{"target_modules": q, "init_r": 4, "target_r": 8},
			[]string{"target_r = 8", "init_r = 4"}},
		"no step to allocate in": {"llama_gqa", "ADALORA", map[string]any{"target_modules": q, "tinit": 5, "tfinal": 5, "total_step": 10},
			[]string{"tinit", "total_step"}},
		"ranks of another": {"llama_gqa", "ADALORA",
			map[string]any{"target_modules": q, "rank_pattern": map[string]any{"model.x.lora_E": []bool{true}}}, []string{"rank_pattern"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := base(t, c.base)
			_, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not name %q: %v", w, err)
				}
			}
		})
	}
}

// TestDefaultTargets takes HF's target_modules where a configuration gives none.
func TestDefaultTargets(t *testing.T) {
	for _, c := range []struct{ base, method, end string }{
		{"llama_gqa", "VERA", "q_proj v_proj"}, {"gpt2", "HIRA", "c_attn"}, {"gpt2", "FOURIERFT", "mlp.c_proj"},
		{"gptneox", "MISS", "query_key_value"},
	} {
		m := base(t, c.base)
		config := map[string]any{}
		if c.method == "FOURIERFT" {
			config["n_frequency"] = 10
		} else if c.method == "MISS" {
			config["r"] = 4
		}
		a, err := peft.New(c.method, config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
		if err != nil {
			t.Error(err)
			continue
		}
		for _, n := range a.Targets() {
			ok := false
			for _, e := range strings.Fields(c.end) {
				ok = ok || strings.HasSuffix(n, e)
			}
			if !ok {
				t.Errorf("%s on %s: target %s, want those that end in %s", c.method, c.base, n, c.end)
			}
		}
	}
	m := base(t, "llama_gqa")
	if _, err := peft.New("VERA", nil, nn.Sites(m), peft.Env{ModelType: "phi3"}); err == nil ||
		!strings.Contains(err.Error(), "target_modules must be given") {
		t.Errorf("a model without defaults: %v", err)
	}
}
