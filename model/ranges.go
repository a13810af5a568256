package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// A number of config.json beyond its range gives NaN, or a model that answers nonsense, and nothing else would say so. Ranges are checked
// wherever the key stands, in families that read it and in those that do not.
var ranges = []struct {
	keys     []string
	from, to float64
	open     bool // from itself is not allowed
	why      string
}{
	{[]string{"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"}, 0, 0.1, true,
		"a norm divides by the root of the mean square and it"},
	{[]string{"rope_theta", "rotary_emb_base", "rope_local_base_freq"}, 1, 1e15, false, "rotary frequencies are its negative powers"},
	{[]string{"attn_logit_softcapping", "final_logit_softcapping"}, 0, 1e6, true, "it caps scores by dividing by it"},
	{[]string{"query_pre_attn_scalar"}, 0, 1e9, true, "scores are divided by its root"},
	{[]string{"partial_rotary_factor", "rotary_pct"}, 0, 1, true, "it is a share of each head"},
	{[]string{"head_dim", "hidden_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers", "intermediate_size",
		"max_position_embeddings", "n_embd", "n_head", "n_layer",
		"n_positions", "vocab_size", "ffn_dim", "word_embed_proj_dim"}, 1, 1 << 28, false, "it is a size"},
	{[]string{"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"}, 0, 1e9, true, "it scales values"},
}

// scalings are the ranges of numbers in rope_scaling and rope_parameters.
var scalings = []struct {
	key      string
	from, to float64
}{
	{"factor", 1e-3, 1e6}, {"low_freq_factor", 1e-6, 1e6}, {"high_freq_factor", 1e-6, 1e6},
	{"original_max_position_embeddings", 1, 1 << 40}, {"attention_factor", 1e-6, 1e6},
	{"beta_fast", 1e-6, 1e6}, {"beta_slow", 1e-6, 1e6}, {"rope_theta", 1, 1e15}, {"partial_rotary_factor", 1e-9, 1},
}

// checkRanges checks the numbers of config.json that are there and not null.
func (c *Config) checkRanges() error {
	for _, r := range ranges {
		for _, key := range r.keys {
			var v float64
			if ok, err := c.read(key, &v); !ok || err != nil { // what is not a number is its family's to refuse
				continue
			}
			if math.IsNaN(v) || v < r.from || v > r.to || r.open && v == r.from {
				return fmt.Errorf("config.json: %s is %g: %s; it must be %s%g and at most %g", key, v, r.why,
					map[bool]string{true: "above ", false: "at least "}[r.open], r.from, r.to)
			}
		}
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if err := checkScaling(key, c.raw[key]); err != nil {
			return err
		}
	}
	return nil
}

// checkScaling checks a scaling of rotary frequencies, or one for each type of layer.
func checkScaling(name string, raw json.RawMessage) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	for _, r := range scalings {
		var v *float64
		if json.Unmarshal(m[r.key], &v) != nil || v == nil {
			continue
		}
		if math.IsNaN(*v) || *v < r.from || *v > r.to {
			return fmt.Errorf("config.json: %s: %s is %g; it must be at least %g and at most %g", name, r.key, *v, r.from, r.to)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch key {
		case "short_factor", "long_factor":
			var fs []float64
			if json.Unmarshal(m[key], &fs) != nil {
				continue
			}
			for i, f := range fs {
				if !(f > 0 && f <= 1e6) {
					return fmt.Errorf("config.json: %s: %s[%d] is %g; it must be above 0", name, key, i, f)
				}
			}
		case "full_attention", "sliding_attention":
			if err := checkScaling(name+"."+key, m[key]); err != nil {
				return err
			}
		}
	}
	return nil
}
