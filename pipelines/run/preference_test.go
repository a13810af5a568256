package run

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/train"
)

// TestPreferenceRuns: with every objective over answers a run goes from rows to an adapter, which tells held-out answers apart better than
// before, and its report says so under TRL's names.
func TestPreferenceRuns(t *testing.T) {
	for _, c := range []struct{ objective, metric string }{
		{"dpo", "rewards/accuracies"}, {"kto", "rewards/margins"}, {"orpo", "rewards/accuracies"}, {"cpo", "rewards/accuracies"},
	} {
		t.Run(c.objective, func(t *testing.T) {
			r, m := pairsRun(t, t.TempDir(), "train.objective="+c.objective, "evaluate.responses=2", "evaluate.max_new_tokens=4")
			p, s := m.Eval.More["preferences"], m.Eval.More["responses"]
			if len(p.After) != 1 || len(s.After) != 1 {
				t.Fatalf("measured %+v", m.Eval.More)
			}
			before, after := p.Before[0].Numbers, p.After[0].Numbers
			if !(after["rewards/margins"] > before["rewards/margins"]) || !(after["loss"] < before["loss"]) || !(after[c.metric] > 0) {
				t.Errorf("preferences before %v, after %v", before, after)
			}
			n := s.After[0].Numbers
			if k := s.Before[0].Numbers["kl"]; k != 0 || n["kl"] == 0 || math.IsNaN(n["kl"]) || n["completions/mean_length"] > 4 {
				t.Errorf("answers: kl before %g, after %v", k, n)
			}
			if len(m.Train.EvalLoss) != 2 || len(m.Train.Metrics["rewards/margins"]) != 6 {
				t.Errorf("evaluations %v, metrics %v", m.Train.EvalLoss, m.Train.Metrics)
			}
			page, err := os.ReadFile(filepath.Join(r.Output, report.File))
			for _, want := range []string{"rewards/margins", "completions/mean_length"} {
				if err != nil || !strings.Contains(string(page), want) {
					t.Errorf("the report lacks %s: %v", want, err)
				}
			}
			if _, err := os.Stat(filepath.Join(r.Output, AdapterDir, "adapter_model.safetensors")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPreferenceResumed: a run of DPO that is interrupted, and one on one thread, end with the bytes of a whole one. So does one whose
// reference follows the adapter.
func TestPreferenceResumed(t *testing.T) {
	for name, args := range map[string]string{"dpo": "{beta: 0.5}",
		"synchronised": "{beta: 0.5, sync_ref_model: true, ref_model_sync_steps: 2}"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rec := pairsRecipe(t, dir, "train.objective=dpo", "train.objective_args="+args, "train.save_steps=2")
			whole := adapterBytes(t, &Run{Recipe: rec, Output: filepath.Join(dir, "whole")}, context.Background())

			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r := &Run{Recipe: rec, Output: filepath.Join(dir, "killed"), Step: func(_ int, s *train.StepInfo, _ *train.Eval) {
				if s != nil && s.Step == 3 {
					cancel()
				}
			}}
			if got := adapterBytes(t, r, ctx); got != nil {
				t.Fatal("the run was not interrupted")
			}
			train.CloseSessions()
			r = &Run{Recipe: rec, Output: filepath.Join(dir, "killed")}
			if got := adapterBytes(t, r, context.Background()); !bytes.Equal(got, whole) {
				t.Error("interrupted and resumed it gives another adapter")
			}

			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			r = &Run{Recipe: rec, Output: filepath.Join(dir, "one")}
			if got := adapterBytes(t, r, context.Background()); !bytes.Equal(got, whole) {
				t.Error("one thread gives another adapter")
			}
		})
	}
}

// adapterBytes runs a run and reads its adapter; nil where the context ended it.
func adapterBytes(t *testing.T, r *Run, ctx context.Context) []byte {
	t.Helper()
	defer r.Close()
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.All(ctx); ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, train.ErrInterrupted)) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(r.Output, AdapterDir, "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestCutAnswers: tokens that max_length cuts off are counted.
func TestCutAnswers(t *testing.T) {
	dir := t.TempDir()
	rec := pairsRecipe(t, dir, "train.objective=dpo", "prepare.max_length=20")
	r := &Run{Recipe: rec, Output: filepath.Join(dir, "out")}
	defer r.Close()
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	d, err := r.Prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	last := d.Train.Funnel[len(d.Train.Funnel)-1]
	if n := last.Counters; last.Name != "tokenize" || n["max_length.documents"] != 24 || n["max_length.tokens"] <= 24 {
		t.Errorf("%+v", d.Train.Funnel)
	}
}

// TestWrongPairs: what cannot be learnt from is one clear line.
func TestWrongPairs(t *testing.T) {
	for _, c := range []struct{ name, row, want string }{
		{"equal", `{"prompt": "a", "chosen": " the same", "rejected": " the same"}`, ": equal_answers 2;"},
		{"empty", `{"prompt": "a", "chosen": " good", "rejected": "  "}`, ": empty_answer 2;"},
		{"long", `{"prompt": "` + strings.Repeat("word ", 200) + `", "chosen": " good", "rejected": " bad"}`,
			"tokenize.prompt_too_long 2"},
		{"plain", `{"text": "no pair"}`, "rows of preferences are wanted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			rec := pairsRecipe(t, dir, "train.objective=dpo")
			path := filepath.Join(dir, "train.jsonl")
			if err := os.WriteFile(path, []byte(c.row+"\n"+c.row+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			r := &Run{Recipe: rec, Output: filepath.Join(dir, "out")}
			defer r.Close()
			err := r.Open()
			if err == nil {
				_, err = r.Prepare(context.Background())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v; it should be a line with %q", err, c.want)
			}
		})
	}
}

// TestPreferencePlan: a reference that follows the adapter is a copy of it, which the plan counts; the base with the adapter off is none.
func TestPreferencePlan(t *testing.T) {
	plan := func(args string) *Plan {
		p, err := MakePlan(pairsRecipe(t, t.TempDir(), "train.objective=dpo", "train.objective_args="+args))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stays, follows := plan("{beta: 0.1}"), plan("{sync_ref_model: true}")
	if stays.Reference != 0 || follows.Reference != 4*int64(follows.Trainable) || follows.Peak-stays.Peak != follows.Reference {
		t.Errorf("a reference that stays: %+v, that follows: %+v", stays, follows)
	}
	var b bytes.Buffer
	if follows.Table(&b); !strings.Contains(b.String(), "reference adapter") {
		t.Error(b.String())
	}
}

// TestRolloutsPlan: the plan of a training on answers of the model's own counts what samples them, its KV cache among it.
func TestRolloutsPlan(t *testing.T) {
	plan := func(args string) *Plan {
		p, err := MakePlan(pairsRecipe(t, t.TempDir(), "train.objective=grpo", "train.per_device_train_batch_size=8",
			"train.objective_args={num_generations: 8, reward_funcs: [think_format], "+args+"}"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := plan("max_completion_length: 8"), plan("max_completion_length: 8, steps_per_generation: 2")
	if one.Rollouts == 0 || two.Rollouts <= one.Rollouts || two.Peak-one.Peak != two.Rollouts-one.Rollouts {
		t.Errorf("8 answers at a time take %d bytes of %d, 16 take %d of %d", one.Rollouts, one.Peak, two.Rollouts, two.Peak)
	}
	var b bytes.Buffer
	if one.Table(&b); !strings.Contains(b.String(), "sampling of answers") {
		t.Error(b.String())
	}
}
