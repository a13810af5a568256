package train

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
)

// rolloutSettings are the keys of a TRL case or run of rollouts that are settings of our objectives, under the same names.
var rolloutSettings = strings.Fields("beta loss_type epsilon epsilon_high delta importance_sampling_level use_bias_correction_kl " +
	"top_entropy_quantile max_completion_length sapo_temperature_pos sapo_temperature_neg vespo_k_pos vespo_lambda_pos vespo_k_neg " +
	"vespo_lambda_neg normalize_advantages reward_clip_range num_generations reward_weights scale_rewards " +
	"multi_objective_aggregation temperature")

// rolloutObjective is the objective of a TRL trainer over rollouts with the settings of a case.
func rolloutObjective(t *testing.T, trainer string, meta map[string]any) Objective {
	t.Helper()
	settings := map[string]any{}
	for _, k := range rolloutSettings {
		if v := meta[k]; v != nil {
			settings[k] = v
		}
	}
	if trainer == "rloo" {
		delete(settings, "loss_type")
	}
	o, err := NewObjective(trainer, settings)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// rolloutData are the rows of a padded batch of rollouts whose tensors' names begin with a prefix, an answer a sequence. Prompts are padded
// on the left, answers on the right.
func rolloutData(f golden.File, prefix string) (data Sequences) {
	prompts, width := f.I64(prefix+"prompt_ids"), f.Shape(prefix + "prompt_ids")[1]
	answers, long := f.I64(prefix+"completion_ids"), f.Shape(prefix + "completion_ids")[1]
	heard, counts := f.I64(prefix+"prompt_mask"), f.I64(prefix+"completion_mask")
	advantages := f.F32(prefix + "advantages")
	for r := range advantages {
		q := datasets.Sequence{Values: map[string][]float32{ColumnAdvantage: {advantages[r]}}}
		var ids []int32
		for k := r * width; k < (r+1)*width; k++ {
			if heard[k] != 0 {
				ids = append(ids, int32(prompts[k]))
			}
		}
		prompt := len(ids)
		var at []int
		for k := r * long; k < (r+1)*long; k++ {
			if counts[k] != 0 {
				ids, at = append(ids, int32(answers[k])), append(at, k)
			}
		}
		document(&q, ids, prompt)
		column := func(from string) []float32 {
			out := make([]float32, len(ids))
			if !f.Has(prefix + from) {
				return out
			}
			x := f.F32(prefix + from)
			if len(x) == len(advantages) { // of the whole answer
				out[prompt] = x[r]
				return out
			}
			for k, i := range at {
				out[prompt+k] = x[i]
			}
			return out
		}
		old := "old_per_token_logps"
		if f.Has(prefix + "old_logps") {
			old = "old_logps"
		}
		q.Values[ColumnOld], q.Values[ColumnRef] = column(old), column("ref_per_token_logps")
		if f.Has(prefix + "num_items_in_batch") {
			q.Values[ColumnLength] = []float32{float32(f.I64(prefix + "num_items_in_batch")[0]) / float32(len(advantages))}
		}
		data = append(data, q)
	}
	return data
}
