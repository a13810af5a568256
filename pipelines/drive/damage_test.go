package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

// damages are what may happen to a file.
var damages = []struct {
	name string
	do   func([]byte) []byte // nil: the file goes
}{
	{"emptied", func([]byte) []byte { return []byte{} }},
	{"truncated", func(b []byte) []byte { return b[:len(b)/2] }},
	{"its last byte lost", func(b []byte) []byte { return b[:len(b)-1] }},
	{"a bit flipped in its last byte", flip(func(n int) int { return n - 1 })},
	{"a bit flipped in its middle", flip(func(n int) int { return n / 2 })},
	{"a bit flipped in its head", flip(func(n int) int { return min(n-1, 20) })},
	{"removed", nil},
}

func flip(at func(n int) int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = slices.Clone(b)
		b[at(len(b))] ^= 1
		return b
	}
}

// spoil damages a file and returns what mends it.
func spoil(t *testing.T, path string, do func([]byte) []byte) (mend func()) {
	t.Helper()
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if do == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, do(was), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(path, was, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// byHand runs rounds without a pipeline, each call as a worker that has just started.
type byHand struct {
	job train.Job
	js  string
}

func newByHand(t *testing.T, job train.Job) *byHand {
	raw, err := json.Marshal(&job)
	if err != nil {
		t.Fatal(err)
	}
	return &byHand{job, string(raw)}
}

func (h *byHand) use(f func(*train.Session) error) error {
	train.CloseSessions()
	defer train.CloseSessions()
	return train.Use(h.js, f)
}

func (h *byHand) replicas(step int) (refs []train.Ref, err error) {
	err = h.use(func(s *train.Session) error {
		for r := range h.job.Args.Replicas {
			ref, err := s.Replica(step, r)
			if err != nil {
				return err
			}
			refs = append(refs, ref)
		}
		return nil
	})
	return refs, err
}

// finish ends a round; summed is called between the sums of gradients and the steps, where the optimiser is sharded.
func (h *byHand) finish(step int, refs []train.Ref, summed func()) error {
	shards := h.job.Args.OptimizerShards
	if shards <= 1 {
		return h.use(func(s *train.Session) error { _, err := s.Combine(step, refs); return err })
	}
	var waiting []train.ShardStep
	err := h.use(func(s *train.Session) error {
		var sums []train.ShardSum
		for k := range shards {
			sum, err := s.Reduce(step, k, refs)
			if err != nil {
				return err
			}
			sums = append(sums, sum)
		}
		var err error
		waiting, err = s.Norm(step, sums)
		return err
	})
	if err != nil {
		return err
	}
	summed()
	return h.use(func(s *train.Session) error {
		for k := range waiting {
			var err error
			if waiting[k], err = s.Apply(waiting[k]); err != nil {
				return err
			}
		}
		_, err := s.Gather(step, waiting)
		return err
	})
}

func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever happens to a file of a round while the run stands still, who reads it says so by its name, and the same command ends with the
// same bytes: the files of rounds are made again from the last checkpoint, of whose files a damaged one is an error that says what to do.
func TestDamagedFiles(t *testing.T) {
	for _, c := range []struct {
		mode, compression string
		shards            int
		late              float64
	}{{mode: "local", compression: "int8", late: 1000}, {mode: "sync", compression: "topk"}, {mode: "sync", shards: 2}} {
		t.Run(fmt.Sprintf("%s,%s,shards=%d", c.mode, c.compression, c.shards), func(t *testing.T) {
			whole := drivetest.Rounds(t, c.mode)
			a := &whole.Args
			a.Compression, a.DropLateAfter, a.MinReplicas, a.OptimizerShards, a.LocalSteps, a.MaxSteps = c.compression,
				c.late, 1, c.shards, 1, 6
			trainJob(t, whole)
			want := trained(t, whole, 6)

			// A run that was killed in its third round, before its first checkpoint.
			job := drivetest.Elsewhere(t, whole)
			h := newByHand(t, job)
			nothing := func() {}
			var refs []train.Ref
			var err error
			for step := range 3 {
				if refs, err = h.replicas(step); err != nil {
					t.Fatal(err)
				}
				if step < 2 {
					err = h.finish(step, refs, nothing)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			round := func(n int) string { return filepath.Join(job.Dir, "rounds", fmt.Sprintf("round-%06d", n)) }
			sum := filepath.Join(round(2), "sum-000.safetensors")
			read := 0
			for _, path := range append(files(t, filepath.Join(job.Dir, "rounds")), sum) {
				name := filepath.Base(path)
				for _, d := range damages {
					var err error
					var mend func()
					switch dir := filepath.Dir(path); {
					case path == sum && c.shards > 1:
						err = h.finish(2, refs, func() { mend = spoil(t, path, d.do) })
					case dir == round(2) && (strings.HasPrefix(name, "state") || strings.HasPrefix(name, "update") ||
						strings.HasPrefix(name, "shard")):
						mend = spoil(t, path, d.do)
						err = h.finish(2, refs, nothing)
					case dir == round(1) && strings.HasPrefix(name, "kept"):
						mend = spoil(t, path, d.do)
						_, err = h.replicas(2)
					case dir == round(1) && name == "contributors.json" && d.do != nil && d.name != "a bit flipped in its middle" &&
						!strings.Contains(d.name, "head"):
						mend = spoil(t, path, d.do)
						_, err = h.replicas(1)
					default:
						continue // nobody reads it any more
					}
					if read++; err == nil || !strings.Contains(err.Error(), name) {
						t.Errorf("%s, %s: %v", path[len(job.Dir):], d.name, err)
					}
					mend()
				}
			}
			if read < 4*len(damages) {
				t.Errorf("%d damages were tried", read)
			}
			for _, d := range damages {
				other := drivetest.Elsewhere(t, job)
				if err := os.CopyFS(other.Dir, os.DirFS(job.Dir)); err != nil {
					t.Fatal(err)
				}
				for _, path := range files(t, other.Dir) {
					if filepath.Base(path) != "contributors.json" {
						spoil(t, path, d.do)
					}
				}
				trainJob(t, other)
				if !bytes.Equal(trained(t, other, 6), want) {
					t.Errorf("%s: other bytes", d.name)
				}
			}

			// A checkpoint: the run says which folder to delete, and goes on without it.
			for _, file := range files(t, train.CheckpointDir(whole.Dir, 4)) {
				for _, d := range damages {
					other := drivetest.Elsewhere(t, job)
					dir := train.CheckpointDir(other.Dir, 4)
					if err := os.CopyFS(dir, os.DirFS(filepath.Dir(file))); err != nil {
						t.Fatal(err)
					}
					path := filepath.Join(dir, filepath.Base(file))
					spoil(t, path, d.do)
					_, err := Train(context.Background(), other, runners.Runner{}, nil)
					train.CloseSessions()
					if filepath.Base(file) == "trainer_state.json" && d.do == nil { // without its state the folder is not a checkpoint
						if err != nil || !bytes.Equal(trained(t, other, 6), want) {
							t.Errorf("%s, %s: %v, or other bytes", file, d.name, err)
						}
					} else if err == nil || !strings.Contains(err.Error(), path+": ") ||
						!strings.Contains(err.Error(), "delete the folder") {
						t.Errorf("%s, %s: %v", file, d.name, err)
					}
				}
			}
		})
	}
}

// The times of files say nothing to a run: one that goes on after the clock was set back or forward ends with the same bytes.
func TestTheClockIsMoved(t *testing.T) {
	for _, mode := range []string{"sync", "local"} {
		whole := drivetest.Rounds(t, mode)
		trainJob(t, whole)
		for _, year := range []int{1999, 2100} {
			job := drivetest.Elsewhere(t, whole)
			if err := os.CopyFS(train.CheckpointDir(job.Dir, 4), os.DirFS(train.CheckpointDir(whole.Dir, 4))); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(job.Dir, "rounds"), os.DirFS(filepath.Join(whole.Dir, "rounds"))); err != nil {
				t.Fatal(err)
			}
			at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
			for i, path := range files(t, filepath.Dir(job.Dir)) {
				if err := os.Chtimes(path, at, at.Add(-time.Duration(i)*time.Hour)); err != nil { // later files are older
					t.Fatal(err)
				}
			}
			trainJob(t, job)
			if !bytes.Equal(trained(t, job, 8), trained(t, whole, 8)) {
				t.Errorf("%s, %d: other bytes", mode, year)
			}
		}
	}
}
