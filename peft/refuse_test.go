package peft_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestMethodsRefuse spoils every field of every method's configuration in turn: its name, its kind of value, and, of counts, ranks and
// rates, its range. The error names the field in the field's own words, without Go's.
func TestMethodsRefuse(t *testing.T) {
	free := []string{"peft_type", "task_type", "base_model_name_or_path", "revision", "peft_version", "inference_mode"} // of no method
	counts := []string{"r", "init_r", "target_r", "deltaT", "num_virtual_tokens", "num_ranks", "num_tasks", "encoder_num_layers",
		"adapter_len", "adapter_layers",
		"num_vectors", "vector_length", "topk", "gralora_k", "num_B", "stride_A", "u", "mini_r", "n_frequency", "block_size",
		"boft_n_butterfly_factor",
		"num_cayley_neumann_terms", "group_size", "phm_dim", "reduction_factor"}
	kinds, ranges := 0, 0
	for name, c := range methodCases(t) {
		m := base(t, c.Base)
		sites, env := nn.Sites(m), peft.Env{ModelType: m.Config.ModelType}
		method := c.Config["peft_type"].(string)
		refuse := func(field string, value any, words ...string) {
			t.Helper()
			config := maps.Clone(c.Config)
			config[field] = value
			_, err := peft.New(method, config, sites, env)
			if err == nil {
				t.Errorf("%s: %s = %v is taken", name, field, value)
				return
			}
			for _, w := range append(words, method) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %s = %v: the error does not name %q: %v", name, field, value, w, err)
				}
			}
			for _, w := range []string{"json:", "Go value", "strconv", "\n"} {
				if strings.Contains(err.Error(), w) {
					t.Errorf("%s: %s = %v: the error has %q: %v", name, field, value, w, err)
				}
			}
		}
		a, err := peft.New(method, c.Config, sites, env)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		raw, err := json.Marshal(a.Config())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		for field, v := range fields {
			if slices.Contains(free, field) {
				continue
			}
			kinds++
			refuse(field+"_x", 1, field)
			refuse(field, map[string]any{"an": []string{"object"}}, field)
			switch v.(type) {
			case float64:
				refuse(field, "text", field)
				if strings.HasSuffix(field, "dropout") {
					ranges++
					refuse(field, 1, field, "[0, 1)")
					refuse(field, -0.25, field, "[0, 1)")
				} else if slices.Contains(counts, field) && !(method == "ADALORA" && field == "r") && !(method == "OFT" && field == "r") &&
					!(strings.Contains(field, "neumann") && fields["use_cayley_neumann"] != true) &&
					!(method == "BOTTLENECK" && field == "phm_dim" && fields["phm_layer"] != true) {
					ranges++
					refuse(field, -1, field)
					if field != "num_virtual_tokens" || method != "CPT" {
						refuse(field, 0, field)
					}
				}
			case bool:
				refuse(field, 2, field)
			}
		}
	}
	t.Logf("%d fields, of which %d have a range", kinds, ranges)
	if kinds < 600 || ranges < 100 {
		t.Errorf("only %d fields and %d ranges were tried", kinds, ranges)
	}
}
