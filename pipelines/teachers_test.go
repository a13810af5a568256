package pipelines

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	core "github.com/adaptflow/adaptflow/train"
)

func taught(t *testing.T, teacher string, alpha float64) core.Job {
	job := testJob(t)
	job.Teachers, job.DistillationAlpha = []string{filepath.Join("..", "model", "testdata", "models", teacher)}, alpha
	return job
}

// A distillation gives the same bytes with one thread and with two, resumed and whole; what it learns from is a part of what it is bound to.
func TestDistillationRepeats(t *testing.T) {
	job := taught(t, "qwen2", 0.5)
	trainJob(t, job)
	want := trained(t, job, 8)
	other := elsewhere(t, job)
	other.Threads = 1
	if err := os.CopyFS(core.CheckpointDir(other.Dir, 6), os.DirFS(core.CheckpointDir(job.Dir, 6))); err != nil {
		t.Fatal(err)
	}
	trainJob(t, other)
	if !bytes.Equal(trained(t, other, 8), want) {
		t.Error("resumed with one thread: other bytes")
	}
	binding, err := job.Binding()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]core.Job{"another teacher": taught(t, "llama_tied", 0.5), "another alpha": taught(t, "qwen2", 1), "no teacher": testJob(t)} {
		b, err := c.Binding()
		if err != nil {
			t.Fatal(err)
		}
		if b == binding {
			t.Errorf("%s: the same binding", name)
		}
		trainJob(t, c)
		if bytes.Equal(trained(t, c, 8), want) {
			t.Errorf("%s: the same bytes", name)
		}
	}
	rounds := roundsJob(t, "sync")
	rounds.Teachers, rounds.DistillationAlpha = job.Teachers, job.DistillationAlpha
	trainJob(t, rounds)
}

// What is wrong with a teacher shows when the run opens, by the key of the recipe, and leaves nothing.
func TestTeachersThatAreRefused(t *testing.T) {
	for teacher, want := range map[string]string{
		"nowhere": "nowhere",
		filepath.Join("..", "tokenize", "testdata", "tokenizer"): "a teacher must have the same",
	} {
		rec := continualRecipe(t, "embedded:linux_man_en/valid.jsonl", "teacher="+teacher)
		out := filepath.Join(t.TempDir(), "out")
		r := &Run{Recipe: rec, Output: out, Say: t.Logf}
		err := r.Open()
		r.Close()
		if err == nil || !strings.Contains(err.Error(), "train.teacher_model_name_or_path") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", teacher, err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: %s was made", teacher, out)
		}
	}
}

// The plan counts what teachers take.
func TestPlanOfTeachers(t *testing.T) {
	plan := func(settings ...string) *Plan {
		p, err := MakePlan(continualRecipe(t, "embedded:linux_man_en/valid.jsonl", settings...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	none, one := plan(), plan("teacher=embedded:lm-en-5m")
	if none.Teachers != 0 || one.Teachers < 2*48*4096*4 || one.Peak-none.Peak != one.Teachers {
		t.Errorf("teachers take %d and %d bytes, the peaks are %d and %d", none.Teachers, one.Teachers, none.Peak, one.Peak)
	}
}
