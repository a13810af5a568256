package train

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

// TestReferenceFollows: a reference that follows the adapter is part of the state: a run in two halves, of which the second begins at the
// checkpoint, ends with the bytes and losses of a whole one, and with others than where the reference stays.
func TestReferenceFollows(t *testing.T) {
	r := openObjectiveCase(t, "toy_pairs")
	run := func(settings map[string]any, stops ...int) (losses []float64, values map[string][]float32) {
		t.Helper()
		j := pinJob(t, datasets.KindPreference, r.data, r.data)
		settings = maps.Clone(settings)
		settings["beta"] = 0.5
		j.Objective, j.ObjectiveArgs, j.SequenceLength = "dpo", settings, r.longest
		j.Args.Stride, j.Args.GradientAccumulationSteps, j.Args.MaxSteps, j.Args.EvalSteps, j.Validation = 1, 1, 4, 0, nil
		j.Args.LearningRate = 2e-2
		raw, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		from := 0
		for _, to := range stops {
			err := Use(string(raw), func(s *Session) error {
				_, err := s.Advance(from, to)
				losses, values = nil, map[string][]float32{}
				for _, h := range s.State().History {
					losses = append(losses, h.Loss)
				}
				for _, q := range s.Params().List() {
					values[q.Name] = slices.Clone(q.Data)
				}
				return err
			})
			CloseSessions() // as another process goes on
			if err != nil {
				t.Fatal(err)
			}
			from = to
		}
		return losses, values
	}
	follows := map[string]any{"sync_ref_model": true, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.75}
	whole, want := run(follows, 4)
	parts, got := run(follows, 3, 4)
	if !slices.Equal(whole, parts) {
		t.Errorf("losses %v in two halves, %v at once", parts, whole)
	}
	for name, x := range want {
		if !slices.Equal(x, got[name]) {
			t.Fatalf("%s has other values in two halves", name)
		}
	}
	stays, _ := run(map[string]any{}, 4)
	if !slices.Equal(stays[:2], whole[:2]) || stays[2] == whole[2] {
		t.Errorf("losses %v where the reference follows after step 2, %v where it stays", whole, stays)
	}
}

// followJob is a job of DPO over the pairs of a case, of 4 steps, with settings.
func followJob(t *testing.T, r *objectiveRun, settings map[string]any) Job {
	t.Helper()
	j := pinJob(t, datasets.KindPreference, r.data, r.data)
	j.Objective, j.ObjectiveArgs, j.SequenceLength = "dpo", settings, r.longest
	j.Args.Stride, j.Args.GradientAccumulationSteps, j.Args.MaxSteps, j.Args.EvalSteps, j.Validation = 1, 1, 4, 0, nil
	j.Args.LearningRate = 2e-2
	return j
}

// TestReferenceCopy: the copy that a reference keeps begins with the adapter's first values, stays until it is due, and is then the mixture
// of the adapter's and its own.
func TestReferenceCopy(t *testing.T) {
	r := openObjectiveCase(t, "toy_pairs")
	j := followJob(t, r, map[string]any{"beta": 0.5, "sync_ref_model": true, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.75})
	raw, err := json.Marshal(&j)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseSessions()
	if err := Use(string(raw), func(s *Session) error {
		if err := s.AtStep(0); err != nil {
			return err
		}
		ref := s.trainer.goal.ref
		first := make([][]float32, len(ref.trained))
		some := false
		for i, q := range ref.trained {
			first[i] = slices.Clone(q.Data)
			if !slices.Equal(ref.copy[i], first[i]) {
				t.Errorf("%s: the copy is not the adapter's first values", q.Name)
			}
			some = some || slices.ContainsFunc(first[i], func(v float32) bool { return v != 0 })
		}
		if !some {
			t.Fatal("every first value is zero, which a copy that is cleared has too")
		}
		for step := 1; step <= 2; step++ {
			if _, err := s.trainer.Step(s.data, 0); err != nil {
				return err
			}
			for i, q := range ref.trained {
				for k, v := range q.Data {
					want := first[i][k]
					if step == 2 {
						want = float32(0.75*v) + float32(0.25*first[i][k])
					}
					if ref.copy[i][k] != want {
						t.Fatalf("step %d: %s[%d] of the copy is %g, want %g", step, q.Name, k, ref.copy[i][k], want)
					}
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestPrecomputed: what a reference found of a document before is what it would find again: no value of the adapter differs after epochs in
// which documents stand beside others.
func TestPrecomputed(t *testing.T) {
	r := openObjectiveCase(t, "toy_pairs")
	values := func(precompute bool) (out []float32) {
		j := followJob(t, r, map[string]any{"beta": 0.5, "precompute_ref_log_probs": precompute})
		j.Args.Stride, j.Args.PerDeviceTrainBatchSize, j.Args.MaxSteps = 0, 2, 3*r.data.Len()
		raw, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		defer CloseSessions()
		if err := Use(string(raw), func(s *Session) error {
			if err := s.AtStep(0); err != nil {
				return err
			}
			for range j.Args.MaxSteps {
				if _, err := s.trainer.Step(s.data, 0); err != nil {
					return err
				}
			}
			if n := len(s.trainer.goal.known); (n > 0) != precompute {
				t.Errorf("precompute %v: %d documents are known", precompute, n)
			}
			for _, q := range s.Params().List() {
				out = append(out, q.Data...)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !slices.Equal(values(true), values(false)) {
		t.Error("precomputed log-probabilities train another adapter")
	}
}
