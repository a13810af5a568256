package drive

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/train"
)

func fileSize(t *testing.T, parts ...string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// The lengths that the scaling model has for the files of rounds and checkpoints are those of the files that rounds write.
func TestScalingKnowsTheFilesOfRounds(t *testing.T) {
	for _, c := range []struct {
		mode, optim, compression string
		shards                   int
	}{{"sync", "adamw_torch", "none", 1}, {"sync", "adafactor", "int8", 1}, {"sync", "adamw_8bit", "none", 3},
		{"sync", "lorafa", "int8", 2},
		{"local", "adamw_torch", "none", 1}, {"local", "sgd", "int8", 1}, {"local", "adamw_torch", "topk", 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			job := drivetest.Rounds(t, c.mode)
			job.Args.Optim, job.Args.Compression, job.Args.OptimizerShards = c.optim, c.compression, c.shards
			st := trainJob(t, job)
			raw, err := json.Marshal(&job)
			if err != nil {
				t.Fatal(err)
			}
			defer train.CloseSessions()
			var f *train.RoundFiles
			if err := train.Use(string(raw), func(s *train.Session) (err error) {
				f, err = train.FilesOf(&job.Args, s.Params(), 0)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			round := filepath.Join(job.Dir, "rounds", "round-000006")
			checkpoint := train.CheckpointDir(job.Dir, 8)
			same := func(what string, want, got int64) {
				t.Helper()
				if off := math.Abs(float64(want - got)); off > 0 &&
					(c.compression != "topk" || !strings.HasPrefix(what, "update") || off > 0.1*float64(got)) {
					t.Errorf("%s: %d bytes predicted, the file has %d", what, want, got)
				}
			}
			if len(f.Updates) != c.shards || c.shards > 1 && (len(f.Sums) != c.shards || len(f.Shards) != c.shards) {
				t.Fatalf("%+v", f)
			}
			for k, n := range f.Updates {
				for r := range 3 {
					same(fmt.Sprintf("update %d of replica %d", k, r), n,
						fileSize(t, round, fmt.Sprintf("update-%03d-%03d.safetensors", r, k)))
				}
			}
			for k := range f.Sums {
				same("sum", f.Sums[k], fileSize(t, round, fmt.Sprintf("sum-%03d.safetensors", k)))
				same("shard", f.Shards[k], fileSize(t, round, fmt.Sprintf("shard-%03d.safetensors", k)))
			}
			if f.Kept > 0 {
				same("kept", f.Kept, fileSize(t, round, "kept-001.safetensors"))
			} else if _, err := os.Stat(filepath.Join(round, "kept-001.safetensors")); err == nil {
				t.Error("replicas keep a file that was not predicted")
			}
			same("trainable", f.Trainable, fileSize(t, checkpoint, "trainable.safetensors"))
			same("optimizer", f.Optimizer, fileSize(t, checkpoint, "optimizer.safetensors"))
			// The state's log has as many digits as its numbers have.
			entries := map[string]int64{"sync": 2, "local": 1}[c.mode] // since the checkpoint of step 4
			if got, want := fileSize(t, round, "state.safetensors"), f.State+entries*f.Log; math.Abs(float64(got-want)) > 64 {
				t.Errorf("state: %d bytes predicted, the file has %d", want, got)
			}
			s, err := safetensors.Open(filepath.Join(round, "state.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			values := int64(0)
			for _, n := range s.Names() {
				info, _ := s.Info(n)
				values += info.Range[1] - info.Range[0]
			}
			same("values of the state", f.Values, values)
			// What the log of the run says was sent is what was predicted of it.
			if c.compression != "topk" {
				for i, h := range st.History {
					if h.BytesSent != 3*f.Update() {
						t.Errorf("round %d sent %d bytes, predicted %d", i, h.BytesSent, 3*f.Update())
					}
				}
			}
		})
	}
}

// simple constants make the sums of the model easy to see.
func simple() *train.Constants {
	return &train.Constants{Threads: 1, FLOPS: 1e9, Pack: 1e6, Read: 1e6, Write: 1e6, Check: 2e6, Combine: 1e6, Load: 1e6, Start: 1,
		Sync: 0.25, Round: 0.5, Replica: 0.125, Memory: 1 << 20}
}

// scalingSetup is the setup of a job of the tests.
func scalingSetup(t *testing.T, edit func(*train.Args)) *train.ScalingSetup {
	t.Helper()
	job := drivetest.Rounds(t, "sync")
	edit(&job.Args)
	raw, err := json.Marshal(&job)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(train.CloseSessions)
	s := &train.ScalingSetup{Args: job.Args, SequenceLength: 16, FLOPs: 1e6, Weights: 1000, Loaded: 2e6, Program: 5000}
	if err := train.Use(string(raw), func(x *train.Session) error { s.Params = x.Params(); return nil }); err != nil {
		t.Fatal(err)
	}
	return s
}

// The time of a round is the sum of its parts, as the model's formula has it.
func TestScalingFormula(t *testing.T) {
	s := scalingSetup(t, func(a *train.Args) { a.Mode, a.LocalSteps, a.MaxSteps, a.SaveSteps = "local", 5, 20, 10 })
	c := simple()
	got, err := s.Scale(c, 4)
	if err != nil {
		t.Fatal(err)
	}
	a := s.Args
	a.Replicas = 4
	f, err := train.FilesOf(&a, s.Params, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := 4 * int64(s.Params.Count())
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	state := f.State + f.Log
	near("rounds", float64(got.Rounds), 4)
	near("tokens", float64(got.Tokens), 20*4*2*16)
	near("compute", got.Round.Compute, 5*2*16*1e6/1e9)
	near("pack", got.Round.Pack, 5*2*16/1e6)
	near("transfer", got.Round.Transfer, float64(state+2*f.Kept+f.Update())/1e6)
	near("combine", got.Round.Combine, 4*float64(f.Update())/2e6+float64(4*w+state+f.Log)/1e6)
	near("overhead", got.Round.Overhead, 0.25+0.5+4*0.125)
	near("a round", got.Round.Seconds, got.Round.Compute+got.Round.Pack+got.Round.Transfer+got.Round.Combine+got.Round.Overhead)
	// Of the four rounds the first reads nothing, the third a checkpoint.
	near("sent by a worker", float64(got.Worker.Sent), float64(4*(f.Update()+f.Kept)))
	near("read by a worker", float64(got.Worker.Read), float64(3*f.Kept+2*(f.State+f.Log)+f.Trainable+f.Optimizer))
	near("a worker's CPU time", got.Worker.CPU, 1+2+20*2*16*(1e6/1e9+1/1e6)+float64(got.Worker.Sent+got.Worker.Read)/1e6)
	near("all sent", float64(got.Sent), float64(4*got.Worker.Sent+got.Driver.Sent))
	near("a checkpoint", float64(got.Checkpoint), float64(f.Trainable+f.Optimizer+4*f.Kept))

	// A slow storage is waited for, where it is what takes the time: by each worker, or by all.
	c.Storage = 1e3
	slow, err := s.Scale(c, 4)
	if err != nil {
		t.Fatal(err)
	}
	near("transfer from a slow storage", slow.Round.Transfer, float64(state+2*f.Kept+f.Update())/1e3)
	c.StorageAll = 2e3
	if slow, err = s.Scale(c, 4); err != nil {
		t.Fatal(err)
	}
	near("transfer from a storage that all share", slow.Round.Transfer, 4*float64(state+2*f.Kept+f.Update())/2e3)

	// Mode sync counts the labels of the whole step.
	s.Args.Mode = "sync"
	if got, err = s.Scale(simple(), 4); err != nil {
		t.Fatal(err)
	}
	near("pack in mode sync", got.Round.Pack, 4*2*16/1e6)
	near("rounds in mode sync", float64(got.Rounds), 20)
}

// More workers send more and make more, each less than one alone.
func TestScalingIsMonotonic(t *testing.T) {
	for _, mode := range []string{"sync", "local"} {
		for _, shards := range []int{1, 4} {
			if mode == "local" && shards > 1 {
				continue
			}
			s := scalingSetup(t, func(a *train.Args) { a.Mode, a.OptimizerShards, a.MaxSteps, a.SaveSteps = mode, shards, 12, 6 })
			all, err := s.ScaleAll(simple(), []int{1, 2, 3, 4, 8, 64, 1000, 4096})
			if err != nil {
				t.Fatal(err)
			}
			if e := all[0].Efficiency; math.Abs(e-1) > 1e-12 {
				t.Errorf("%s: the efficiency of one worker is %v", mode, e)
			}
			for i, b := range all[1:] {
				if a := all[i]; b.Sent <= a.Sent || b.Read <= a.Read || b.Round.Seconds <= a.Round.Seconds || b.Seconds <= a.Seconds ||
					b.Efficiency >= a.Efficiency ||
					b.Worker.Memory < a.Worker.Memory || b.Tokens <= a.Tokens || b.Checkpoint < a.Checkpoint {
					t.Errorf("%s, %d shards: %d workers %+v, %d %+v", mode, shards, a.Workers, a, b.Workers, b)
				}
			}
		}
	}
}

// A worker whose optimiser is sharded has that much less of its state in memory.
func TestScalingMemoryOfShards(t *testing.T) {
	peak := func(shards int) (int64, *train.ScalingSetup) {
		s := scalingSetup(t, func(a *train.Args) { a.OptimizerShards = shards })
		r, err := s.Scale(simple(), 8)
		if err != nil {
			t.Fatal(err)
		}
		return r.Worker.Memory, s
	}
	whole, _ := peak(1)
	for _, shards := range []int{2, 4, 8} {
		got, s := peak(shards)
		args := s.Args
		args.OptimizerShards = shards
		saved := train.OptimizerBytes(&args, s.Params) - train.HeldOptimizerBytes(&args, s.Params)
		// The buffers that the state is read into have the headers of more files.
		if off := whole - got - saved; saved < train.OptimizerBytes(&args, s.Params)/3 || off > 0 || -off > 4096*int64(shards) {
			t.Errorf("%d shards: %d bytes less, want %d", shards, whole-got, saved)
		}
	}
}

func TestScalingRefuses(t *testing.T) {
	s := scalingSetup(t, func(a *train.Args) {})
	c := simple()
	c.Read = 0
	if _, err := s.Scale(c, 2); err == nil || !strings.Contains(err.Error(), "read_per_second") {
		t.Errorf("a missing constant: %v", err)
	}
	if _, err := s.ScaleAll(simple(), []int{0}); err == nil || !strings.Contains(err.Error(), "0 workers") {
		t.Errorf("no workers: %v", err)
	}
	s.Args.MaxSteps = -1
	if _, err := s.Scale(simple(), 2); err == nil || !strings.Contains(err.Error(), "set steps") {
		t.Errorf("no steps: %v", err)
	}
}
