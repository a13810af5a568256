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
