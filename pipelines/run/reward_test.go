package run

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates"
)

// writePairs writes n pairs of answers to questions, of which the chosen one is polite and the rejected one is not.
func writePairs(t *testing.T, path string, n, from int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		row, err := json.Marshal(map[string]string{"prompt": fmt.Sprintf("Question %d: where is the station?", from+i*7),
			"chosen":   fmt.Sprintf(" Thank you for asking, it is at number %d of the street.", i),
			"rejected": fmt.Sprintf(" Go away, I will not tell you about number %d.", i)})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(row, '\n'))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// pairsRecipe is a recipe over pairs of answers with settings, of a tiny size.
func pairsRecipe(t *testing.T, dir string, settings ...string) *recipe.Recipe {
	t.Helper()
	tpl, err := templates.Get("domain-adaptation")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := tpl.Resolve("", nil, append([]string{"input=" + writePairs(t, filepath.Join(dir, "train.jsonl"), 24, 0),
		"eval_input=" + writePairs(t, filepath.Join(dir, "held.jsonl"), 6, 1000), "general_input=[]", "sequence_length=80",
		"steps=6", "batch_size=2", "train.learning_rate=0.005", "rank=4", "max_new_tokens=0", "train.eval_steps=3"}, settings...))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// pairsRun runs such a recipe.
func pairsRun(t *testing.T, dir string, settings ...string) (*Run, *report.Metrics) {
	t.Helper()
	r := &Run{Recipe: pairsRecipe(t, dir, settings...), Output: filepath.Join(dir, "out")}
	t.Cleanup(r.Close)
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	m, err := r.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r, m
}

// TestRewardModel: a reward model is learnt from pairs, measured on held-out ones, written as a folder that transformers and PEFT open as a
// model of one score, and scores texts as it was measured.
func TestRewardModel(t *testing.T) {
	dir := t.TempDir()
	r, m := pairsRun(t, dir, "model.task=SEQ_CLS", "train.objective=reward")
	c := m.Eval.More["preferences"]
	if len(c.After) != 1 || c.After[0].Numbers["accuracy"] != 1 || !(c.After[0].Numbers["loss"] < c.Before[0].Numbers["loss"]) ||
		m.Eval.Classes != nil || m.Eval.Domain != nil || len(m.Train.EvalLoss) == 0 {
		t.Fatalf("%+v", m.Eval)
	}
	page, err := os.ReadFile(filepath.Join(r.Output, report.File))
	if err != nil || !strings.Contains(string(page), "accuracy") {
		t.Errorf("the report: %v", err)
	}
	folder := filepath.Join(r.Output, AdapterDir)
	raw, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil || !strings.Contains(string(raw), "ForSequenceClassification") || strings.Contains(string(raw), "problem_type") {
		t.Errorf("%v %s", err, raw)
	}
	if raw, err = os.ReadFile(filepath.Join(folder, "adapter_config.json")); err != nil || !strings.Contains(string(raw), `"SEQ_CLS"`) {
		t.Errorf("%v %s", err, raw)
	}
	model, err := infer.Load(r.modelDir, "float32", folder)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	var texts []infer.PromptAnswer
	held, err := os.ReadFile(filepath.Join(dir, "held.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(held)) {
		var row struct{ Prompt, Chosen, Rejected string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, infer.PromptAnswer{Prompt: row.Prompt, Answer: row.Chosen},
			infer.PromptAnswer{Prompt: row.Prompt, Answer: row.Rejected})
	}
	scores, err := model.Rewards(texts...)
	if err != nil {
		t.Fatal(err)
	}
	margin := 0.0
	for i := 0; i < len(scores); i += 2 {
		margin += float64(scores[i]-scores[i+1]) / float64(len(scores)/2)
	}
	if want := c.After[0].Numbers["margin"]; math.Abs(margin-want) > 1e-4*math.Abs(want) {
		t.Errorf("held-out pairs have a margin of %g by Rewards, %g as measured", margin, want)
	}
	alone, err := model.Rewards(texts[3])
	if err != nil || !slices.Equal(alone, scores[3:4]) {
		t.Errorf("alone %v, beside others %v: %v", alone, scores[3], err)
	}
}
