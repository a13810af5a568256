package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// RoundsConfig says what `adaptflow bench rounds` measures: rounds of several replicas of the embedded English model, on Prism.
type RoundsConfig struct {
	Rounds          int
	Replicas        int
	Mode            string // sync or local, then of one step
	Compression     string
	OptimizerShards int
	SaveSteps       int // rounds of a checkpoint, which is also those of a job
	Rank            int // of LoRA, on all linear layers
	SequenceLength  int
}

// RoundsResult is what was measured. A round lasts from the end of the one before to its own; what it computes is gradients and optimiser
// steps, of all replicas, and the rest is overhead.
type RoundsResult struct {
	Rounds          int     `json:"rounds"`
	Trainable       int     `json:"trainable_parameters"`
	RoundSeconds    float64 `json:"round_seconds"`         // median
	OverheadSeconds float64 `json:"overhead_seconds"`      // median
	Overhead90      float64 `json:"overhead_seconds_p90"`  // nine of ten rounds have less
	SyncsRound      int64   `json:"syncs_a_round"`         // median; a file or a folder flushed to the disk
	SyncsMean       float64 `json:"syncs_a_round_mean"`    // with those of checkpoints
	ResidentFirst   int64   `json:"resident_bytes_first"`  // after the first round
	ResidentMiddle  int64   `json:"resident_bytes_middle"` // after half of them
	ResidentLast    int64   `json:"resident_bytes_last"`   // after the last
	HeapFirst       int64   `json:"heap_bytes_first"`      // in use by the Go heap, garbage collected
	HeapLast        int64   `json:"heap_bytes_last"`
	GoroutinesFirst int     `json:"goroutines_first"`
	GoroutinesLast  int     `json:"goroutines_last"`
}

// Rounds trains in rounds in a temporary folder, which it removes.
func Rounds(ctx context.Context, c RoundsConfig) (*RoundsResult, error) {
	if c.Rounds < 2 || c.Replicas < 2 {
		return nil, errors.New("bench rounds needs two rounds and two replicas at least")
	}
	tmp, err := os.MkdirTemp("", "adaptflow-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	job, err := c.job(ctx, tmp)
	if err != nil {
		return nil, err
	}
	r := &RoundsResult{}
	var walls, overheads []float64
	var syncs []int64
	at, computed, synced := time.Now(), train.Computed(), storage.Syncs()
	first := synced
	var failed error
	resident := func(to *int64) {
		if *to, err = mem.Resident(); err != nil {
			failed = err
		}
	}
	defer train.Watch(job.Dir, func(p train.Progress) {
		if p.Step == nil {
			return
		}
		wall := time.Since(at)
		if r.Rounds++; r.Rounds > 1 { // the first has the opening of everything
			walls = append(walls, wall.Seconds())
			overheads = append(overheads, (wall - (train.Computed() - computed)).Seconds())
			syncs = append(syncs, storage.Syncs()-synced)
		}
		switch r.Rounds {
		case 1:
			resident(&r.ResidentFirst)
			r.HeapFirst, r.GoroutinesFirst = heap(), runtime.NumGoroutine()
			first = storage.Syncs()
		case c.Rounds / 2:
			resident(&r.ResidentMiddle)
		case c.Rounds:
			resident(&r.ResidentLast)
			r.HeapLast, r.GoroutinesLast = heap(), runtime.NumGoroutine()
		}
		at, computed, synced = time.Now(), train.Computed(), storage.Syncs()
	})()
	text, err := json.Marshal(&job)
	if err != nil {
		return nil, err
	}
	if err := train.Use(string(text), func(s *train.Session) error { r.Trainable = s.Params().Count(); return nil }); err != nil {
		return nil, err
	}
	_, err = drive.Train(ctx, job, runners.Runner{}, nil)
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	slices.Sort(walls)
	slices.Sort(overheads)
	slices.Sort(syncs)
	n := len(walls)
	r.RoundSeconds, r.OverheadSeconds, r.Overhead90, r.SyncsRound = walls[n/2], overheads[n/2], overheads[n*9/10], syncs[n/2]
	r.SyncsMean = float64(synced-first) / float64(n)
	return r, nil
}

// heap is what the Go heap holds when its garbage has been collected.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// job prepares the embedded pages of the Linux manual into dir and returns the job on them.
func (c *RoundsConfig) job(ctx context.Context, dir string) (train.Job, error) {
	base, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		return train.Job{}, err
	}
	files, err := assets.ResolveAll([]string{"embedded:linux_man_en/valid.jsonl"})
	if err != nil {
		return train.Job{}, err
	}
	res, err := prepare.Execute(ctx, prepare.Config{Inputs: files, TokenizerDir: base, Shares: recipe.Shares{MaxBadFraction: 1},
		Prepare: recipe.Prepare{PackOptions: datasets.PackOptions{SequenceLength: c.SequenceLength, IsolateDocuments: true},
			Ends: tokenize.Ends{BOS: tokenize.No, EOS: tokenize.Yes}},
		OutDir: filepath.Join(dir, "shards"), RejectsDir: filepath.Join(dir, "rejects"), StagedDir: filepath.Join(dir, "staged"),
		Version: version.Version}, nil)
	if err != nil {
		return train.Job{}, err
	}
	a := train.DefaultArgs()
	a.MaxSteps, a.SaveSteps, a.PerDeviceTrainBatchSize, a.Replicas, a.Mode, a.LocalSteps = c.Rounds, c.SaveSteps, 1, c.Replicas, c.Mode, 1
	a.Compression, a.OptimizerShards = c.Compression, c.OptimizerShards
	j := train.Job{Args: a, Model: base, Method: "LORA", Config: map[string]any{"r": c.Rank, "target_modules": "all-linear"},
		SequenceLength: c.SequenceLength,
		Dir:            filepath.Join(dir, "checkpoints"), KernelSet: kernels.Active().String()}
	for _, s := range res.Train {
		j.Train = append(j.Train, train.ShardRef{Path: s.Path, SHA256: s.SHA256})
	}
	return j, nil
}
