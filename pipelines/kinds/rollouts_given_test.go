package kinds

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates"
)

// TestRolloutsOfPairsAndTeachers: pairs of the model's own answers, and a teacher's distributions over answers, some of them the
// model's own or the teacher's, train the same adapter whatever the number of workers that sample, and over the same rollouts.
func TestRolloutsOfPairsAndTeachers(t *testing.T) {
	dir := t.TempDir()
	base, err := filepath.Abs(filepath.Join(small, "base"))
	if err != nil {
		t.Fatal(err)
	}
	tp, err := templates.Get("domain-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for i := range 8 {
		fmt.Fprintf(&rows, "{\"prompt\": \"%s left the\", \"completion\": \" room of %d\"}\n", []string{"Ann", "Bob", "Cleo"}[i%3], i)
	}
	data := filepath.Join(dir, "prompts.jsonl")
	if err := os.WriteFile(data, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(name, objective, args string, workers int) string {
		t.Helper()
		rec, err := tp.Resolve("recipe.yaml", fmt.Appendf(nil, `
model: {path: %s}
data: {input: [%s], eval_input: [%s], general_input: []}
prepare: {sequence_length: 48, apply_chat_template: false}
train:
  objective: %s
  objective_args: {%s, max_new_tokens: 6, rollout_workers: %d}
  max_steps: 4
  per_device_train_batch_size: 4
  learning_rate: 0.01
  warmup_steps: 0
evaluate: {max_sequences: 4, prompts: []}
`, base, data, data, objective, args, workers), nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &run.Run{Recipe: rec, Output: filepath.Join(dir, name), Say: t.Logf}
		defer r.Close()
		if err := Open(r); err != nil {
			t.Fatal(err)
		}
		if _, err := Of(rec).Run(t.Context(), r, Options{}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(r.Output, "adapter", "adapter_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	teacher := filepath.Join(dir, "online_dpo", "adapter")
	for _, c := range []struct{ name, objective, args string }{
		{"online_dpo", "online_dpo", `reward_funcs: [{name: format, pattern: "[aeiou]"}], missing_eos_penalty: 0.5`},
		{"gkd", "gkd", "teacher_adapter: " + teacher},
		{"seq_kd", "gkd", "lmbda: 0.3, seq_kd: true, beta: 1, teacher_adapter: " + teacher},
	} {
		want := do(c.name, c.objective, c.args, 1)
		if do(c.name+"-several", c.objective, c.args, 3) != want {
			t.Errorf("%s: several workers give another adapter", c.name)
		}
		m, err := report.ReadMetrics(filepath.Join(dir, c.name))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Train.Loss) != 4 || c.name == "online_dpo" && len(m.Train.Metrics["objective/scores_margin"]) != 4 {
			t.Errorf("%s: losses %v, metrics %v", c.name, m.Train.Loss, m.Train.Metrics)
		}
	}
}
