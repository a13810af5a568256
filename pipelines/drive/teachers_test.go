package drive

import (
	"bytes"
	"os"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/train"
)

func taught(t *testing.T, teacher string, alpha float64) train.Job {
	job := drivetest.Job(t)
	job.Teachers, job.DistillationAlpha = []string{drivetest.Model(t, teacher)}, alpha
	return job
}

// A distillation gives the same bytes with one thread and with two, resumed and whole; what it learns from is a part of what it is bound
// to.
func TestDistillationRepeats(t *testing.T) {
	job := taught(t, "qwen2", 0.5)
	trainJob(t, job)
	want := trained(t, job, 8)
	other := drivetest.Elsewhere(t, job)
	other.Threads = 1
	if err := os.CopyFS(train.CheckpointDir(other.Dir, 6), os.DirFS(train.CheckpointDir(job.Dir, 6))); err != nil {
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
	for name, c := range map[string]train.Job{"another teacher": taught(t, "llama_tied", 0.5), "another alpha": taught(t, "qwen2", 1),
		"no teacher": drivetest.Job(t)} {
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
	for _, mode := range []string{"sync", "local"} {
		rounds := drivetest.Rounds(t, mode)
		rounds.Teachers, rounds.DistillationAlpha = job.Teachers, job.DistillationAlpha
		trainJob(t, rounds)
		again := drivetest.Elsewhere(t, rounds)
		again.Threads = 1
		if err := os.CopyFS(train.CheckpointDir(again.Dir, 4), os.DirFS(train.CheckpointDir(rounds.Dir, 4))); err != nil {
			t.Fatal(err)
		}
		trainJob(t, again)
		plain := drivetest.Rounds(t, mode)
		trainJob(t, plain)
		if w := trained(t, rounds, 8); !bytes.Equal(trained(t, again, 8), w) || bytes.Equal(trained(t, plain, 8), w) {
			t.Errorf("mode %s: resumed with one thread other bytes, or those of no teacher", mode)
		}
	}
}
