package peft

import (
	"fmt"
	"slices"
)

// loraTargets are the target_modules that HF PEFT 0.21.2 takes for LoRA where none are given, by model_type. Most methods share them.
var loraTargets = map[string][]string{
	"gemma": {"q_proj", "v_proj"}, "gemma2": {"q_proj", "v_proj"}, "gemma3_text": {"q_proj", "v_proj"}, "gpt2": {"c_attn"},
	"gpt_neox": {"query_key_value"}, "llama": {"q_proj", "v_proj"}, "mistral": {"q_proj", "v_proj"}, "opt": {"q_proj", "v_proj"},
	"phi": {"q_proj", "v_proj", "fc1", "fc2"}, "qwen2": {"q_proj", "v_proj"}, "qwen3": {"q_proj", "v_proj"},
}

// otherTargets are the methods whose targets differ from LoRA's: by method, then model_type. An empty list means that HF has none.
var otherTargets = map[string]map[string][]string{
	"ADALORA":   {"mistral": {}, "phi": {}, "opt": {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}},
	"VBLORA":    {"mistral": {}, "phi": {}, "opt": {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}},
	"C3A":       {"gpt2": {"mlp.c_proj"}},
	"FOURIERFT": {"gpt2": {"mlp.c_proj"}},
	"WAVEFT":    {"gpt2": {"mlp.c_proj"}},
	"VERA":      {"phi": {"q_proj", "v_proj"}},
	"PVERA":     {"phi": {"q_proj", "v_proj"}},
	"SHIRA":     {"phi": {"q_proj", "v_proj"}},
	"BEFT": {"gemma": {"v_proj"}, "gemma2": {"v_proj"}, "gemma3_text": {"v_proj"}, "gpt2": {}, "gpt_neox": {}, "llama": {"v_proj"},
		"mistral": {"v_proj"},
		"opt":     {"v_proj"}, "phi": {"v_proj"}, "qwen2": {"v_proj"}, "qwen3": {"v_proj"}},
	"IA3": {"gemma": {"q_proj", "v_proj", "down_proj"}, "gemma2": {"q_proj", "v_proj", "down_proj"},
		"gemma3_text": {"q_proj", "v_proj", "down_proj"},
		"gpt2":        {"c_attn", "mlp.c_proj"}, "gpt_neox": {"query_key_value", "dense_4h_to_h"},
		"llama":   {"k_proj", "v_proj", "down_proj"},
		"mistral": {"k_proj", "v_proj", "down_proj"}, "opt": {"q_proj", "k_proj", "fc2"}, "phi": {"q_proj", "v_proj", "fc2"},
		"qwen2": {"q_proj", "v_proj", "down_proj"}, "qwen3": {"q_proj", "v_proj", "down_proj"}},
	"LN_TUNING": {"gemma": {"input_layernorm", "post_attention_layernorm", "norm"},
		"gemma2":      {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "norm"},
		"gemma3_text": {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "norm"},
		"gpt2":        {"ln_1", "ln_2", "ln_f"}, "gpt_neox": {}, "llama": {"input_layernorm", "post_attention_layernorm", "norm"},
		"mistral": {"input_layernorm", "post_attention_layernorm", "norm"}, "opt": {}, "phi": {"input_layernorm", "final_layernorm"},
		"qwen2": {"post_attention_layernorm"}, "qwen3": {"post_attention_layernorm"}},
}

// targetsFor is the target_modules that HF takes where the configuration gives none.
func targetsFor(method, modelType string) (Names, error) {
	list, ok := otherTargets[method][modelType]
	if !ok {
		list = loraTargets[modelType]
	}
	if len(list) == 0 {
		return Names{}, fmt.Errorf("peft: %s: target_modules must be given for a model of type %q", method, modelType)
	}
	return Names{List: slices.Clone(list)}, nil
}
