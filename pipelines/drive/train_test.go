package drive

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

func trainJob(t *testing.T, job train.Job) *train.State {
	t.Helper()
	defer train.CloseSessions()
	st, err := Train(context.Background(), job, runners.Runner{}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func trained(t *testing.T, job train.Job, step int) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(train.CheckpointDir(job.Dir, step), "trainable.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTrainLowersTheLossAndResumesToTheSameBytes(t *testing.T) {
	job := drivetest.Job(t)
	job.Args.SaveTotalLimit = 0
	st := trainJob(t, job)
	if n := len(st.History); n != 8 || st.History[7].Loss >= st.History[0].Loss {
		t.Fatalf("%d steps, loss %v", n, st.History)
	}
	want := trained(t, job, 8)
	// Every checkpoint from which a kill could make the run continue.
	for _, keep := range []int{0, 3, 6} {
		other := job
		other.Dir = filepath.Join(t.TempDir(), "c")
		other.Threads = 1
		if keep > 0 {
			if err := os.CopyFS(train.CheckpointDir(other.Dir, keep), os.DirFS(train.CheckpointDir(job.Dir, keep))); err != nil {
				t.Fatal(err)
			}
		}
		// What a kill leaves of a checkpoint that was being written.
		torn := train.CheckpointDir(other.Dir, keep+1)
		os.MkdirAll(torn, 0o777)
		os.WriteFile(filepath.Join(torn, "trainable.safetensors"), []byte("half"), 0o666)
		trainJob(t, other)
		if !bytes.Equal(trained(t, other, 8), want) {
			t.Errorf("resumed from %d: other bytes", keep)
		}
	}
	// Another cut into segments.
	other := job
	other.Dir, other.Args.SaveSteps = filepath.Join(t.TempDir(), "c"), 8
	trainJob(t, other)
	if !bytes.Equal(trained(t, other, 8), want) {
		t.Error("one segment: other bytes")
	}
	// A finished run does nothing more; other settings are refused.
	trainJob(t, job)
	job.Args.LearningRate *= 2
	if _, err := Train(context.Background(), job, runners.Runner{}, nil); err == nil {
		t.Error("a checkpoint of other settings was continued")
	}
	train.CloseSessions()
}

func TestSyncReplicasEqualTheWholeBatch(t *testing.T) {
	for _, optim := range []string{"adamw_torch", "lorafa"} {
		t.Run(optim, func(t *testing.T) { syncReplicas(t, optim) })
	}
}

func syncReplicas(t *testing.T, optim string) {
	one := drivetest.Job(t)
	one.Args.Optim = optim
	one.Args.PerDeviceTrainBatchSize = 4
	a := trainJob(t, one)
	two := one
	two.Dir = filepath.Join(t.TempDir(), "c")
	two.Args.PerDeviceTrainBatchSize, two.Args.Replicas = 2, 2
	b := trainJob(t, two)
	for i := range a.History {
		if d := math.Abs(a.History[i].Loss - b.History[i].Loss); d > 1e-5 {
			t.Errorf("step %d: loss %.7f with one replica, %.7f with two", i+1, a.History[i].Loss, b.History[i].Loss)
		}
	}
	acc := one
	acc.Dir = filepath.Join(t.TempDir(), "c")
	acc.Args.PerDeviceTrainBatchSize, acc.Args.GradientAccumulationSteps = 2, 2
	c := trainJob(t, acc)
	for i := range a.History {
		if d := math.Abs(a.History[i].Loss - c.History[i].Loss); d > 1e-5 {
			t.Errorf("step %d: loss %.7f in one batch, %.7f accumulated", i+1, a.History[i].Loss, c.History[i].Loss)
		}
	}
}

func TestLocalReplicas(t *testing.T) {
	for _, optim := range []string{"adamw_torch", "lorafa"} { // the second freezes a part of the adapter
		t.Run(optim, func(t *testing.T) { localReplicas(t, optim) })
	}
}

func localReplicas(t *testing.T, optim string) {
	job := drivetest.Job(t)
	job.Args.Optim = optim
	job.Args.Mode, job.Args.Replicas, job.Args.LocalSteps, job.Args.MaxSteps, job.Args.SaveSteps,
		job.Args.SaveTotalLimit = "local", 2, 2, 8, 4, 0
	st := trainJob(t, job)
	if n := len(st.History); n != 4 || st.History[3].Loss >= st.History[0].Loss {
		t.Fatalf("%d rounds: %v", n, st.History)
	}
	want := trained(t, job, 8)
	other := job
	other.Dir = filepath.Join(t.TempDir(), "c")
	os.CopyFS(train.CheckpointDir(other.Dir, 4), os.DirFS(train.CheckpointDir(job.Dir, 4)))
	os.CopyFS(filepath.Join(other.Dir, "rounds"), os.DirFS(filepath.Join(job.Dir, "rounds")))
	trainJob(t, other)
	if !bytes.Equal(trained(t, other, 8), want) {
		t.Error("resumed: other bytes")
	}
}

func TestEvaluationStopsEarlyAndKeepsTheBest(t *testing.T) {
	job := drivetest.Job(t)
	a := &job.Args
	a.EvalSteps, a.EarlyStoppingPatience, a.LoadBestModelAtEnd, a.MaxSteps, a.LearningRate, a.SaveTotalLimit, a.SaveSteps = 2, 2,
		true, 200, 5e-2, 2, 4
	st := trainJob(t, job)
	if !st.Stopped || st.Step >= 200 || st.BestStep != st.Step-4 {
		t.Errorf("stopped %v at %d, best %d: %v", st.Stopped, st.Step, st.BestStep, st.Evals)
	}
	steps, err := train.Checkpoints(job.Dir)
	if err != nil || len(steps) != 2 || steps[0] != st.BestStep || steps[1] != st.Step {
		t.Errorf("checkpoints %v, want the best %d and the last %d: %v", steps, st.BestStep, st.Step, err)
	}
}

func TestTrainRefusesWhatIsWrong(t *testing.T) {
	job := drivetest.Job(t)
	for name, f := range map[string]func(*train.Job){
		"changed shard":  func(j *train.Job) { j.Train = []train.ShardRef{{Path: j.Train[0].Path, SHA256: "0"}} },
		"missing shard":  func(j *train.Job) { j.Train = []train.ShardRef{{Path: "nowhere.parquet"}} },
		"unknown target": func(j *train.Job) { j.Config = map[string]any{"target_modules": []string{"nothing"}} },
		"memory limit":   func(j *train.Job) { j.MemoryLimit = train.BareProcessBytes + 24<<20 + 560<<10 },
		"kernel set":     func(j *train.Job) { j.KernelSet = "avx1024" },
	} {
		j := job
		f(&j)
		if _, err := Train(context.Background(), j, runners.Runner{}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if _, err := os.Stat(j.Dir); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}
