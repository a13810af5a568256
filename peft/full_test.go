package peft_test

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestFullFreezing looks at which modules a configuration of full fine-tuning trains.
func TestFullFreezing(t *testing.T) {
	for _, c := range []struct {
		name, base string
		config     map[string]any
		want       string // modules trained, or an error
	}{
		{"a block", "llama_gqa", map[string]any{"layers_to_transform": 1, "target_modules": []string{"mlp"}},
			"model.layers.1.mlp.gate_proj model.layers.1.mlp.up_proj model.layers.1.mlp.down_proj"},
		{"norms but one", "llama_gqa", map[string]any{"target_modules": []string{"norm", "input_layernorm"},
			"exclude_modules": []string{"layers.0"}},
			"model.layers.1.input_layernorm model.norm"},
		{"a pattern", "llama_gqa", map[string]any{"target_modules": `.*\.0\.self_attn\.[qk]_proj`},
			"model.layers.0.self_attn.q_proj model.layers.0.self_attn.k_proj"},
		{"a tied head brings the embedding", "llama_tied", map[string]any{"target_modules": []string{"lm_head"}},
			"model.embed_tokens lm_head"},
		{"a tied embedding brings the head", "llama_tied", map[string]any{"target_modules": []string{"embed_tokens"}},
			"model.embed_tokens lm_head"},
		{"an untied head", "llama_gqa", map[string]any{"target_modules": []string{"lm_head"}}, "lm_head"},
		{"no such module", "llama_gqa", map[string]any{"target_modules": []string{"mlp", "attn_norm"}},
			"error: attn_norm matches no module"},
		{"no such block", "llama_gqa", map[string]any{"layers_to_transform": []int{0, 9}},
			"error: has 9, but the model has the blocks 0 to 1"},
		{"nothing left", "llama_gqa", map[string]any{"target_modules": []string{"mlp"}, "exclude_modules": []string{"layers"}},
			"error: leave no module to train"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := base(t, c.base)
			a, err := peft.New("FULL", c.config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, Tied: m.Config.Tied})
			if want, bad := strings.CutPrefix(c.want, "error: "); bad {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Total(m.ParamCount()); got != m.ParamCount() {
				t.Errorf("base and adapter have %d values together, the base %d", got, m.ParamCount())
			}
			if got := strings.Join(a.Targets(), " "); got != c.want {
				t.Errorf("trains %s, want %s", got, c.want)
			}
		})
	}
}
