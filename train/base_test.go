package train

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
)

// llama is the tiny model that tests train over, until the test ends.
func llama(t *testing.T) *model.Model {
	t.Helper()
	m, err := model.Load(tiny("llama_gqa"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// held is a base model that the test holds until its end.
func held(t *testing.T, dir string, task model.Task) *model.Model {
	t.Helper()
	h, err := Hold(dir, "float32", task)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Release(); err != nil {
			t.Error(err)
		}
	})
	return h.Model
}

// TestHold: a base is loaded once for all who hold it at a time, and freed when the last releases it.
func TestHold(t *testing.T) {
	CloseSessions()
	kernels.FreeIdle()
	before, loaded := mem.Held(), len(bases.loaded)
	dir := tiny("llama_gqa")
	var hs []*Held
	for _, dtype := range []string{"", "float32", "bfloat16"} {
		h, err := Hold(dir, dtype, model.Task{})
		if err != nil {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	if hs[0].Model != hs[1].Model || hs[0].Model == hs[2].Model || len(bases.loaded) != loaded+2 || mem.Held() <= before {
		t.Errorf("%d bases, %d bytes", len(bases.loaded), mem.Held())
	}
	for range 2 { // again: nothing
		if err := hs[0].Release(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hs[1].Model.Hash(); err != nil {
		t.Errorf("a base that is still held: %v", err)
	}
	if err := release(hs); err != nil {
		t.Fatal(err)
	}
	if kernels.FreeIdle(); len(bases.loaded) != loaded || mem.Held() != before {
		t.Errorf("%d bases, %d bytes, want %d and %d", len(bases.loaded), mem.Held(), loaded, before)
	}
	if err := (*Held)(nil).Release(); err != nil {
		t.Error(err)
	}
	if _, err := Hold(t.TempDir(), "", model.Task{}); err == nil || len(bases.loaded) != loaded {
		t.Errorf("a folder without a model: %v", err)
	}
}

// TestRunsFreeTheirBases: of runs one after another, each over a base of its own and with a teacher, nothing stays in memory; while one
// lives, its base is loaded once, whatever is asked for in between.
func TestRunsFreeTheirBases(t *testing.T) {
	CloseSessions()
	kernels.FreeIdle()
	before, loaded := mem.Held(), len(bases.loaded)
	for _, base := range []string{"llama_gqa", "llama_tied", "llama_gqa"} {
		j := pinJob(t, datasets.KindLM, keyed(0, 9), keyed(1, 5))
		j.Model, j.Teachers, j.DistillationAlpha = tiny(base), []string{tiny("qwen2")}, 0.5
		raw, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		end := Drive(context.Background(), j.Dir)
		var first *model.Model
		for step := range 2 {
			if err := Use(string(raw), func(s *Session) error {
				if first == nil {
					first = s.Model
				}
				if s.Model != first {
					t.Errorf("%s is loaded again", base)
				}
				if err := s.At(s.job.Dir, step); err != nil {
					return err
				}
				_, err := s.trainer.Step(s.data, 0)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if len(bases.loaded) != loaded+2 {
			t.Errorf("%d bases while a run lives", len(bases.loaded))
		}
		end()
		if kernels.FreeIdle(); len(bases.loaded) != loaded || mem.Held() != before {
			t.Errorf("after %s: %d bases, %d bytes, want %d and %d", base, len(bases.loaded), mem.Held(), loaded, before)
		}
	}
	// a job that cannot be opened leaves nothing either
	j := pinJob(t, datasets.KindLM, keyed(0, 9), keyed(1, 5))
	j.InitAdapter = t.TempDir()
	raw, err := json.Marshal(&j)
	if err != nil {
		t.Fatal(err)
	}
	if err := Use(string(raw), func(*Session) error { return nil }); err == nil || len(bases.loaded) != loaded {
		t.Errorf("%v, %d bases", err, len(bases.loaded))
	}
}

// TestUseBase: the base of work in parts stays between them, while its run is driven, or until another run that is not driven has its own.
func TestUseBase(t *testing.T) {
	CloseSessions()
	loaded := len(bases.loaded)
	use := func(run, base string) (at *model.Model) {
		t.Helper()
		if err := UseBase(run, &Job{Model: tiny(base)}, func(m *model.Model) error { at = m; return nil }); err != nil {
			t.Fatal(err)
		}
		return at
	}
	end := Drive(context.Background(), "a")
	a, b := use("a", "llama_gqa"), use("b", "llama_tied")
	if use("a", "llama_gqa") != a || use("b", "llama_tied") != b || len(bases.loaded) != loaded+2 {
		t.Errorf("a base is loaded again, or %d", len(bases.loaded))
	}
	if use("c", "qwen2"); len(bases.loaded) != loaded+2 || basesKept.byRun["b"] != nil || use("a", "llama_gqa") != a {
		t.Errorf("%d bases beside a driven run", len(bases.loaded))
	}
	if end(); len(bases.loaded) != loaded+1 {
		t.Errorf("%d bases after the driven run", len(bases.loaded))
	}
	if CloseSessions(); len(bases.loaded) != loaded {
		t.Errorf("%d bases at the end", len(bases.loaded))
	}
}
