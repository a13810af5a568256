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

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/peft/pefttest"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/rewards"
	"github.com/adaptflow/adaptflow/templates"
)

// writePairs writes n pairs of answers to questions, of which the chosen one is polite and the rejected one is not; every other says by how
// much it is better.
func writePairs(t *testing.T, path string, n, from int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		margin := any(nil)
		if i%2 == 0 {
			margin = 0.25 * float64(i)
		}
		row, err := json.Marshal(map[string]any{"margin": margin, "prompt": fmt.Sprintf("Question %d: where is the station?", from+i*7),
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
	judge, err := infer.Load(r.modelDir, "float32", folder)
	if err != nil {
		t.Fatal(err)
	}
	defer judge.Close()
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
	scores, err := judge.Rewards(texts...)
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
	shards, err := filepath.Glob(filepath.Join(r.Output, "shards", "*.parquet"))
	if err != nil || len(shards) == 0 {
		t.Fatal(shards, err)
	}
	margins := map[float32]int{}
	for _, path := range shards {
		s, err := datasets.OpenShard(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for g := range s.NumRowGroups() {
			rows, err := s.ReadRowGroup(g)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range rows {
				for _, m := range q.Values[datasets.ColumnMargin] {
					margins[m]++
				}
			}
		}
	}
	if margins[5.5] != 2 || margins[0.5] != 2 || len(margins) < 12 {
		t.Errorf("the shards have the margins %v", margins)
	}
	_, w, err := rewards.New(map[string]any{"name": "model", "adapter": folder, "scale": 2, "missing_eos_penalty": 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.(rewards.Opener).Open(rewards.Env{Model: r.modelDir, DType: "float32"}); err != nil {
		t.Fatal(err)
	}
	defer w.(rewards.Opener).Close()
	ids := []int32{5, 9, 77, 31, 8}
	own, err := judge.RewardIDs(ids)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Score(t.Context(), []rewards.Answer{{PromptIDs: ids[:2], IDs: ids[2:]},
		{PromptIDs: ids[:3], IDs: ids[3:], Truncated: true}})
	if want := 2 * float64(own[0]); err != nil || got[0] != want || got[1] != want-0.5 {
		t.Errorf("the reward model as a reward gives %v, want %g and 0.5 less (%v)", got, want, err)
	}
	for want, adapter := range map[string]string{"is not a reward model": "", "does not exist": filepath.Join(dir, "nowhere")} {
		if adapter == "" {
			adapter = untrained(t, r.modelDir)
		}
		_, w, err := rewards.New(map[string]any{"name": "model", "adapter": adapter})
		if err == nil {
			err = w.(rewards.Opener).Open(rewards.Env{Model: r.modelDir})
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", adapter, err, want)
		}
	}
	alone, err := judge.Rewards(texts[3])
	if err != nil || !slices.Equal(alone, scores[3:4]) {
		t.Errorf("alone %v, beside others %v: %v", alone, scores[3], err)
	}
}

// untrained writes an adapter of a language model over the base in dir.
func untrained(t *testing.T, dir string) string {
	t.Helper()
	m, err := model.LoadTask(dir, "float32", model.Task{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	to := filepath.Join(t.TempDir(), "adapter")
	pefttest.Save(t, to, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}}, nn.Sites(m),
		peft.Env{ModelType: m.Config.ModelType}, 1)
	return to
}
