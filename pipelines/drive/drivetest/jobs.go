// Package drivetest makes training jobs for tests.
package drivetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/train"
)

// Model is the folder of a small model of the module's testdata, such as llama_gqa.
func Model(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "model", "testdata", "models", name)
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run inside the module")
		}
	}
}

// Shard writes n random sequences of several documents each.
func Shard(t *testing.T, path string, n, length int) train.ShardRef {
	t.Helper()
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: length})
	if err != nil {
		t.Fatal(err)
	}
	k := philox.NewKey(9, "shard", filepath.Base(path))
	for i := range n {
		s := datasets.Sequence{DocStarts: []int32{0, int32(length / 3)}, DocIDs: []string{fmt.Sprint("a", i), fmt.Sprint("b", i)},
			DocSpans: [][2]int32{{0, 1}, {0, 1}}, Sources: []string{"x", "x"}}
		for j := range length {
			id := int32(3 + k.At(uint64(i), uint64(j))[0]%40)
			s.InputIDs, s.Labels = append(s.InputIDs, id), append(s.Labels, id)
		}
		s.Labels[0], s.Labels[length/3] = datasets.NoLoss, datasets.NoLoss
		if err := w.Write(&s); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return train.ShardRef{Path: path, SHA256: info.SHA256}
}

// Job is a job of eight steps with a LoRA over a small model, which is validated.
func Job(t *testing.T) train.Job {
	t.Helper()
	dir := t.TempDir()
	a := train.DefaultArgs()
	a.LearningRate, a.MaxSteps, a.PerDeviceTrainBatchSize, a.SaveSteps, a.WarmupSteps, a.WeightDecay = 5e-3, 8, 2, 3, 2, 0.01
	return train.Job{Args: a, Model: Model(t, "llama_gqa"), Method: "lora", SequenceLength: 16,
		Config: map[string]any{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora_dropout": 0.1},
		Train: []train.ShardRef{Shard(t, filepath.Join(dir, "train-0.parquet"), 13, 16),
			Shard(t, filepath.Join(dir, "train-1.parquet"), 6, 16)},
		Validation: []train.ShardRef{Shard(t, filepath.Join(dir, "valid.parquet"), 3, 16)}, Dir: filepath.Join(dir, "checkpoints"),
		KernelSet: kernels.Active().String()}
}

// Rounds is a job of three replicas with short rounds.
func Rounds(t *testing.T, mode string) train.Job {
	job := Job(t)
	a := &job.Args
	a.Mode, a.Replicas, a.LocalSteps, a.MaxSteps, a.SaveSteps, a.SaveTotalLimit = mode, 3, 2, 8, 4, 0
	return job
}

// Elsewhere is the same job in a folder of its own.
func Elsewhere(t *testing.T, job train.Job) train.Job {
	job.Dir = filepath.Join(t.TempDir(), "c")
	return job
}
