package drive

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// fleet are machines that share a location alone.
type fleet struct {
	t      *testing.T
	job    string
	caches []string
	next   int
	last   string // cache of the machine that worked last
}

// do has the next machine work on the job: its session, its cache.
func (f *fleet) do(work func(*train.Session) error) {
	f.t.Helper()
	train.CloseSessions()
	f.last = f.caches[f.next%len(f.caches)]
	f.t.Setenv("ADAPTFLOW_CACHE", f.last)
	f.next++
	if err := train.Use(f.job, work); err != nil {
		f.t.Fatal(err)
	}
}

// advance trains from a step up to at least to, as the driver's pipelines would, and returns the step that was reached.
func (f *fleet) advance(job *train.Job, step, to, total int) int {
	f.t.Helper()
	if job.Args.Replicas == 1 {
		f.do(func(s *train.Session) (err error) { step, err = s.Advance(step, to); return err })
		return step
	}
	for step < to {
		var refs []train.Ref
		for r := range job.Args.Replicas {
			f.do(func(s *train.Session) error {
				ref, err := s.Replica(step, r)
				refs = append(refs, ref)
				return err
			})
		}
		shards := job.Args.OptimizerShards
		if shards < 2 {
			f.do(func(s *train.Session) (err error) { step, err = s.Combine(step, refs); return err })
			continue
		}
		var sums []train.ShardSum
		for k := range shards {
			f.do(func(s *train.Session) error {
				sum, err := s.Reduce(step, k, refs)
				sums = append(sums, sum)
				return err
			})
		}
		var steps, done []train.ShardStep
		f.do(func(s *train.Session) (err error) { steps, err = s.Norm(step, sums); return err })
		for _, d := range steps {
			f.do(func(s *train.Session) error {
				d, err := s.Apply(d)
				done = append(done, d)
				return err
			})
		}
		f.do(func(s *train.Session) (err error) { step, err = s.Gather(step, done); return err })
	}
	f.do(func(s *train.Session) error { return s.Checkpoint(step) })
	return step
}

// TestLocation: machines that share nothing but a location train to the bytes of a run in one folder: each piece of the work on another
// machine, half way on new ones, and the driver continues with an empty cache. The job names no folder of any machine.
func TestLocation(t *testing.T) {
	objects.Register()
	storagetest.StartS3(t, "bucket")
	storagetest.StartGCS(t, "bucket")
	places := map[string]func(t *testing.T, name string) string{
		"folder": func(t *testing.T, _ string) string { return t.TempDir() },
		"s3":     func(_ *testing.T, name string) string { return "s3://bucket/" + name },
		"gs":     func(_ *testing.T, name string) string { return "gs://bucket/" + name },
	}
	jobs := map[string]func(*testing.T) train.Job{
		"single":  drivetest.Job,
		"sync":    func(t *testing.T) train.Job { return drivetest.Rounds(t, "sync") },
		"local":   func(t *testing.T) train.Job { return drivetest.Rounds(t, "local") },
		"sharded": func(t *testing.T) train.Job { j := drivetest.Rounds(t, "sync"); j.Args.OptimizerShards = 2; return j },
	}
	for name, make := range jobs {
		for scheme, place := range places {
			if scheme == "gs" && name != "local" { // the same requests but for the store's own
				continue
			}
			t.Run(name+"/"+scheme, func(t *testing.T) {
				defer train.CloseSessions()
				job := make(t)
				job.Args.SaveTotalLimit = 2
				plain := trainJob(t, job)
				total := job.Args.MaxSteps
				want := trained(t, job, total)

				location := place(t, name)
				shared := job
				shared.Dir, shared.Location = "", location+"/checkpoints"
				var err error
				if shared.Model, err = pulled.Push(t.Context(), job.Model, location+"/folders"); err != nil {
					t.Fatal(err)
				}
				raw, err := json.Marshal(&shared)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(raw), job.Model) {
					t.Errorf("the job names %s: %s", job.Model, raw)
				}
				f := &fleet{t: t, job: string(raw), caches: []string{t.TempDir(), t.TempDir()}}
				step := 0
				for step < total/2 {
					step = f.advance(&shared, step, shared.Boundary(step, total), total)
				}
				f.caches = []string{t.TempDir(), t.TempDir(), t.TempDir()} // those before were lost
				if steps, err := shared.Checkpoints(); err != nil || len(steps) == 0 || steps[len(steps)-1] != step {
					t.Fatalf("checkpoints %v at step %d (%v)", steps, step, err)
				}
				f.advance(&shared, step, shared.Boundary(step, total), total)

				// Another driver, with an empty cache, ends it.
				train.CloseSessions()
				t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
				st, err := Train(t.Context(), shared, runners.Runner{}, func(s string) { t.Log(s) })
				if err != nil || st.Step != total || len(st.History) != len(plain.History) {
					t.Fatalf("%d steps, %d of %d in the log, %v", st.Step, len(st.History), len(plain.History), err)
				}
				dir, err := shared.Checkpoint(total, "")
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(filepath.Join(dir, "trainable.safetensors"))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("other bytes than in one folder (%v)", err)
				}
				if steps, err := shared.Checkpoints(); err != nil || len(steps) != 2 {
					t.Errorf("save_total_limit 2 left %v (%v)", steps, err)
				}
			})
		}
	}
}
