package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

// A run of rounds goes on from its checkpoint alone, without the files of rounds, to the same bytes.
func TestRoundsResumeFromTheCheckpointAlone(t *testing.T) {
	for _, mode := range []string{"sync", "local"} {
		whole := trainJob(t, drivetest.Rounds(t, mode)) // without compression
		for _, c := range []struct{ name, args string }{{"none", ""}, {"int8", "block_size=64"}, {"topk", "density=0.25"}} {
			t.Run(mode+"/"+c.name, func(t *testing.T) {
				job := drivetest.Rounds(t, mode)
				job.Args.Compression, job.Args.CompressionArgs = c.name, c.args
				st := trainJob(t, job)
				last := st.History[len(st.History)-1]
				if d := math.Abs(last.Loss - whole.History[len(whole.History)-1].Loss); d > map[string]float64{"int8": 2e-3,
					"topk": 0.1}[c.name] {
					t.Errorf("the last loss is off by %g of that without compression", d)
				}
				if n := map[string]int{"sync": 8, "local": 4}[mode]; len(st.History) != n {
					t.Errorf("%d rounds, want %d", len(st.History), n)
				}
				if full := last.BytesReceived; c.name == "none" && last.BytesSent < full || c.name == "int8" && last.BytesSent > full/2 ||
					c.name == "topk" && last.BytesSent > full*3/4 {
					t.Errorf("%d bytes sent, %d received", last.BytesSent, full)
				}
				other := drivetest.Elsewhere(t, job)
				if err := os.CopyFS(train.CheckpointDir(other.Dir, 4), os.DirFS(train.CheckpointDir(job.Dir, 4))); err != nil {
					t.Fatal(err)
				}
				again := trainJob(t, other)
				if !bytes.Equal(trained(t, other, 8), trained(t, job, 8)) {
					t.Error("resumed: other bytes")
				}
				for i := range st.History {
					if st.History[i].Loss != again.History[i].Loss {
						t.Errorf("round %d: loss %v and %v", i, st.History[i].Loss, again.History[i].Loss)
					}
				}
				// What replicas keep matters where there is something to keep: without it the bytes are others.
				if c.name != "none" || mode == "local" {
					if k := st.Kept; len(k) != 3 || k[0].Path == "" {
						t.Errorf("the checkpoint keeps %v", k)
					}
				}
			})
		}
	}
}

// The checkpoint of a round refers to what replicas keep; a damaged file of it is an error that names it.
func TestRoundsFindDamage(t *testing.T) {
	job := drivetest.Rounds(t, "local")
	trainJob(t, job)
	other := drivetest.Elsewhere(t, job)
	dir := train.CheckpointDir(other.Dir, 4)
	if err := os.CopyFS(dir, os.DirFS(train.CheckpointDir(job.Dir, 4))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kept-001.safetensors")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	os.WriteFile(path, raw, 0o666)
	_, err = Train(context.Background(), other, runners.Runner{}, nil)
	train.CloseSessions()
	if err == nil || !strings.Contains(err.Error(), "kept-001") {
		t.Errorf("damage was not found: %v", err)
	}
}

// Replicas that give up are not part of their round; the log says who was, and the same list gives the same bytes without a clock.
func TestLateReplicas(t *testing.T) {
	for _, mode := range []string{"sync", "local"} {
		t.Run(mode, func(t *testing.T) {
			all := drivetest.Rounds(t, mode)
			all.Args.Compression = "int8" // what is dropped must not have lost its rest
			all.Args.Stride = 1           // every replica has its share of every round: of the last of an epoch some have none
			whole := trainJob(t, all)

			// Lists that leave one out now and then: what an earlier run's clock decided.
			job := drivetest.Elsewhere(t, all)
			job.Contributors = map[int][]int{2: {0, 2}, 4: {1, 2}, 6: {0}, 8: {0, 1}}
			st := trainJob(t, job)
			if bytes.Equal(trained(t, job, 8), trained(t, all, 8)) {
				t.Error("dropping replicas changed nothing")
			}
			for i, h := range st.History {
				want, listed := job.Contributors[h.Step]
				if !listed {
					want = []int{0, 1, 2}
				}
				if !slices.Equal(h.Contributors, want) {
					t.Errorf("round %d: %v contributed, want %v", i, h.Contributors, want)
				}
				if len(want) < 3 && h.BytesSent >= whole.History[i].BytesSent {
					t.Errorf("round %d: %d bytes were sent", i, h.BytesSent)
				}
				if d := math.Abs(h.Loss - whole.History[i].Loss); d > 0.5 {
					t.Errorf("round %d: loss %v, with all %v", i, h.Loss, whole.History[i].Loss)
				}
			}
			// The list of the log repeats it, and so does a resume in the middle.
			list, err := train.ReadContributors(filepath.Join(train.CheckpointDir(job.Dir, 8), "trainer_state.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, from := range []int{0, 4} {
				again := drivetest.Elsewhere(t, all)
				again.Contributors = list
				if from > 0 {
					// A checkpoint belongs to the list it was made with.
					again.Contributors = job.Contributors
					os.CopyFS(train.CheckpointDir(again.Dir, from), os.DirFS(train.CheckpointDir(job.Dir, from)))
				}
				trainJob(t, again)
				if !bytes.Equal(trained(t, again, 8), trained(t, job, 8)) {
					t.Errorf("from %d: the same list gave other bytes", from)
				}
			}
		})
	}
}

func TestLateReplicasByTheClock(t *testing.T) {
	job := drivetest.Rounds(t, "local")
	// A limit that every replica keeps: the bytes of a run without one.
	trainJob(t, job)
	patient := drivetest.Elsewhere(t, job)
	patient.Args.DropLateAfter, patient.Args.MinReplicas = 1000, 2
	st := trainJob(t, patient)
	if !bytes.Equal(trained(t, patient, 8), trained(t, job, 8)) {
		t.Error("nobody was late, and the bytes are others")
	}
	if got := fmt.Sprint(st.History[0].Contributors); got != "[0 1 2]" {
		t.Errorf("%s contributed", got)
	}
	// One that none keeps: too few are left, which says so.
	hurried := drivetest.Elsewhere(t, job)
	hurried.Args.DropLateAfter, hurried.Args.MinReplicas = 1e-9, 2
	_, err := Train(context.Background(), hurried, runners.Runner{}, nil)
	train.CloseSessions()
	if err == nil || !strings.Contains(err.Error(), "0 of 3 replicas wrote their part, and 2 must") {
		t.Errorf("%v", err)
	}
}

// Who contributes is decided once: another attempt at the round, whose clock says otherwise, gives the same state.
func TestContributorsAreDecidedOnce(t *testing.T) {
	defer train.CloseSessions()
	job := drivetest.Rounds(t, "local")
	job.Args.DropLateAfter, job.Args.MinReplicas = 1000, 2
	raw, err := json.Marshal(&job)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(job.Dir, "rounds", "round-000002", "state.safetensors")
	params := func() [][]float32 {
		f, err := safetensors.Open(state)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var out [][]float32
		for _, n := range f.Names() {
			x, err := f.Float32(n)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, x)
		}
		return out
	}
	err = train.Use(string(raw), func(s *train.Session) error {
		r0, err0 := s.Replica(0, 0)
		r1, err1 := s.Replica(0, 1)
		r2, err2 := s.Replica(0, 2)
		if _, err := s.Combine(0, []train.Ref{r2, {Replica: 1, Late: true}, r0}); err != nil {
			return err
		}
		first := params()
		if again, err := s.Replica(0, 1); err != nil || !again.Late {
			t.Errorf("replica 1 took part after it was decided that it does not: %v, %v", again, err)
		}
		if _, err := s.Combine(0, []train.Ref{r0, r1, r2}); err != nil {
			return err
		}
		if !reflect.DeepEqual(first, params()) {
			t.Error("the second attempt gave another state")
		}
		if _, err := s.Combine(0, []train.Ref{r0, r0, r2}); err == nil {
			t.Error("a replica was counted twice")
		}
		return errors.Join(err0, err1, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFourSyncReplicasEqualTheFourfoldBatch(t *testing.T) {
	one := drivetest.Job(t)
	one.Args.MaxSteps, one.Args.PerDeviceTrainBatchSize = 30, 4
	a := trainJob(t, one)
	four := drivetest.Elsewhere(t, one)
	four.Args.PerDeviceTrainBatchSize, four.Args.Replicas = 1, 4
	b := trainJob(t, four)
	if len(a.History) != 30 || len(b.History) != 30 {
		t.Fatalf("%d and %d steps", len(a.History), len(b.History))
	}
	for i := range a.History {
		if d := math.Abs(a.History[i].Loss - b.History[i].Loss); d > 1e-5 {
			t.Errorf("step %d: loss %.7f with the whole batch, %.7f with four replicas", i+1, a.History[i].Loss, b.History[i].Loss)
		}
	}
}

// A sharded optimiser gives the bytes of one that is not, in every file of every checkpoint, and goes on from its checkpoints with any
// number of shards.
func TestShardedOptimizerGivesTheSameBytes(t *testing.T) {
	for _, c := range []struct {
		optim, compression string
		shards             int
	}{{"adamw_torch", "none", 2}, {"adamw_torch", "int8", 5}, {"lorafa", "none", 3}, {"muon", "none", 3}, {"adamw_8bit", "none", 4},
		{"sgd", "none", 2}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			job := drivetest.Rounds(t, "sync")
			job.Args.Optim, job.Args.Compression = c.optim, c.compression
			whole := trainJob(t, job)
			if !slices.ContainsFunc(whole.History, func(i train.StepInfo) bool { return i.GradNorm > job.Args.MaxGradNorm }) {
				job.Args.MaxGradNorm = whole.History[2].GradNorm / 2 // so that some step clips
				job = drivetest.Elsewhere(t, job)
				whole = trainJob(t, job)
			}
			parts := drivetest.Elsewhere(t, job)
			parts.Args.OptimizerShards = c.shards
			st := trainJob(t, parts)
			for i := range st.History {
				a, b := st.History[i], whole.History[i]
				if a.Loss != b.Loss || a.GradNorm != b.GradNorm || a.LearningRate != b.LearningRate || a.Tokens != b.Tokens {
					t.Errorf("step %d: %v, not sharded %v", i+1, a, b)
				}
			}
			for _, step := range []int{4, 8} {
				for _, name := range []string{"trainable.safetensors", "optimizer.safetensors"} {
					a, err1 := os.ReadFile(filepath.Join(train.CheckpointDir(parts.Dir, step), name))
					b, err2 := os.ReadFile(filepath.Join(train.CheckpointDir(job.Dir, step), name))
					if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
						t.Errorf("step %d: %s: other bytes: %v, %v", step, name, err1, err2)
					}
				}
			}
			// With another number of shards, from the middle.
			other := drivetest.Elsewhere(t, job)
			other.Args.OptimizerShards = c.shards + 1
			if err := os.CopyFS(train.CheckpointDir(other.Dir, 4), os.DirFS(train.CheckpointDir(parts.Dir, 4))); err != nil {
				t.Fatal(err)
			}
			trainJob(t, other)
			if !bytes.Equal(trained(t, other, 8), trained(t, job, 8)) {
				t.Error("resumed with other shards: other bytes")
			}
		})
	}
}

// What a worker holds of a sharded optimiser is what the formula says: the bytes of the arrays in the shards' files, and of the optimiser
// in memory.
func TestShardedOptimizerMemory(t *testing.T) {
	defer train.CloseSessions()
	for _, optim := range []string{"adamw_torch", "adamw_8bit", "adafactor", "sgd"} {
		job := drivetest.Rounds(t, "sync")
		job.Args.Optim, job.Args.OptimizerShards, job.Args.MaxSteps, job.Args.SaveSteps = optim, 4, 3, 2
		trainJob(t, job)
		raw, _ := json.Marshal(&job)
		err := train.Use(string(raw), func(s *train.Session) error {
			if n := s.Trainer().OptimizerBytes(); n != 0 {
				t.Errorf("%s: the trainer holds %d bytes of state between the steps", optim, n)
			}
			names, planned := train.ShardParams(&job.Args, s.Params(), 4)
			whole, parameters := int64(0), 0
			for k := range names {
				f, err := safetensors.Open(filepath.Join(job.Dir, "rounds", "round-000003", fmt.Sprintf("shard-%03d.safetensors", k)))
				if err != nil {
					return err
				}
				defer f.Close()
				held := int64(0)
				for _, n := range f.Names() {
					info, _ := f.Info(n)
					if strings.HasPrefix(n, "optimizer/") {
						held += 4 * int64(info.Len())
					}
				}
				if held != planned[k] {
					t.Errorf("%s: shard %d holds %d bytes, planned %d", optim, k, held, planned[k])
				}
				whole += planned[k]
				parameters += len(names[k])
			}
			if whole != train.OptimizerBytes(&job.Args, s.Params()) || parameters != len(s.Params().List()) {
				t.Errorf("%s: the shards hold %d bytes and %d parameters together", optim, whole, parameters)
			}
			// The largest shard is an equal share, up to the largest parameter's state.
			largest := int64(0)
			for _, q := range s.Params().List() {
				largest = max(largest, 2*4*int64(len(q.Data)))
			}
			if got := train.HeldOptimizerBytes(&job.Args, s.Params()); got != slices.Max(planned) || got > whole/4+largest {
				t.Errorf("%s: a worker holds %d bytes of %d", optim, got, whole)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	job := drivetest.Rounds(t, "local")
	job.Args.OptimizerShards = 2
	if _, err := Train(context.Background(), job, runners.Runner{}, nil); err == nil {
		t.Error("shards of an optimiser that every replica has were accepted")
	}
}

// Where an epoch ends with fewer sequences than replicas, a round of those alone that have none is not a step: it says so, and is not
// taken.
func TestLateReplicasWithoutAShare(t *testing.T) {
	job := drivetest.Rounds(t, "sync")
	job.Contributors = map[int][]int{4: {1, 2}} // the nineteenth sequence is replica 0's
	_, err := Train(context.Background(), job, runners.Runner{}, nil)
	train.CloseSessions()
	if err == nil || !strings.Contains(err.Error(), "round 3: no token of the replicas that were not late had a loss") {
		t.Errorf("%v", err)
	}
}
