package perkey

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// fleet are machines that share a location alone: each piece of work is done by the next of them.
type fleet struct {
	t      *testing.T
	caches []string
	n      int
}

func newFleet(t *testing.T, machines int) *fleet {
	f := &fleet{t: t}
	for range machines {
		f.caches = append(f.caches, t.TempDir())
	}
	return f
}

func (f *fleet) machine() {
	train.CloseSessions()
	f.t.Setenv("ADAPTFLOW_CACHE", f.caches[f.n%len(f.caches)])
	f.n++
}

func (f *fleet) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// train does what the transform does, until so many groups of keys are trained, and says which keys were. Every group is trained twice, as
// a bundle that is retried.
func (f *fleet) train(cfg Config, list []keyExample, groups int) (trained []string) {
	f.t.Helper()
	ctx := context.Background()
	raw, err := json.Marshal(&cfg)
	f.ok(err)
	refs := map[string][]Ref{}
	for part := range slices.Chunk(list, 7) {
		f.machine()
		stage := &StageFn{Dir: storage.Join(cfg.WorkDir, "examples"), SequenceLength: cfg.Job.SequenceLength}
		emit := func(key string, r Ref) { refs[key] = append(refs[key], r) }
		for _, x := range part {
			f.ok(stage.ProcessElement(ctx, x.Key, x.E, emit))
		}
		f.ok(stage.FinishBundle(ctx, emit))
	}
	var specs, plans, done []string
	for _, key := range slices.Sorted(maps.Keys(refs)) {
		f.machine()
		fn, i := &KeyFn{Config: string(raw)}, 0
		f.ok(fn.Setup(ctx))
		f.ok(fn.ProcessElement(ctx, key, func(r *Ref) bool {
			if i++; i <= len(refs[key]) {
				*r = refs[key][i-1]
			}
			return i <= len(refs[key])
		}, func(_ int, s string) { specs = append(specs, s) }))
	}
	f.machine()
	i := 0
	f.ok((&PlanFn{Config: string(raw)}).ProcessElement(ctx, 0, func(s *string) bool {
		if i++; i <= len(specs) {
			*s = specs[i-1]
		}
		return i <= len(specs)
	}, func(s string) { plans = append(plans, s) }, func(s string) { done = append(done, s) }))
	defer Watch(cfg.OutDir, func(r *Result) { trained = append(trained, r.Key) })()
	for range 2 {
		for _, plan := range plans[:min(groups, len(plans))] {
			f.machine()
			f.ok((&GroupFn{Config: string(raw)}).ProcessElement(ctx, plan, func(s string) { done = append(done, s) }))
		}
	}
	for _, s := range done {
		f.machine()
		_, err := (&ResultFn{Dir: resultsDir(cfg.WorkDir)}).ProcessElement(ctx, s)
		f.ok(err)
	}
	slices.Sort(trained)
	return slices.Compact(trained)
}

// TestLocation: machines that share nothing but a location give keys the folders of a run in one folder, byte for byte: each piece of the
// work on another machine, groups tried twice, the driver lost in the middle and a worker before its last file. A forgotten document
// changes its key's adapter alone, and a key of which too little is left has no folder any more. The settings name no folder of a machine.
func TestLocation(t *testing.T) {
	objects.Register()
	storagetest.StartS3(t, "bucket")
	storagetest.StartGCS(t, "bucket")
	list := examples()
	const base = `/home/driver/модель/a "base"`
	init := config(t)
	trainAll(t, init, slices.Concat(of("eve", 4), of("dan", 3)), 1)
	local := config(t)
	local.Job.BaseName, local.GroupKeys, local.InitAdapters = base, 1, init.OutDir
	trainAll(t, local, list, 1)
	want := readAll(t, local.OutDir)
	forgetting := local
	forgetting.Forget = []string{"ann.jsonl#2", "dan.jsonl#0", "dan.jsonl#1"}
	forgetting.MinSequences = 2
	forgetting.OutDir, forgetting.WorkDir = filepath.Join(t.TempDir(), "adapters"), t.TempDir()
	trainAll(t, forgetting, list, 1)
	less := readAll(t, forgetting.OutDir)
	for name, place := range map[string]string{"folder": t.TempDir(), "s3": "s3://bucket/run", "gs": "gs://bucket/run"} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			defer train.CloseSessions()
			cfg := local
			cfg.OutDir, cfg.WorkDir = storage.Join(place, "adapters"), storage.Join(place, "work")
			cfg.RejectsDir, cfg.Job.Location, cfg.Job.BaseName = storage.Join(place, "rejects"), place, peft.BaseMark
			first := newFleet(t, 3)
			first.machine()
			for _, ref := range []*string{&cfg.Job.Model, &cfg.InitAdapters} {
				var err error
				*ref, err = pulled.Push(ctx, *ref, storage.Join(place, "folders"))
				first.ok(err)
			}
			raw, _ := json.Marshal(&cfg)
			for _, path := range []string{local.Job.Model, init.OutDir, base} {
				if strings.Contains(string(raw), path) {
					t.Errorf("the settings name %s: %s", path, raw)
				}
			}
			done := first.train(cfg, list, 2) // and the driver is lost
			if len(done) != 2 {
				t.Fatalf("trained %v", done)
			}
			first.ok(storage.Remove(storage.Join(cfg.OutDir, KeyName(done[0]), MetricsFile)))

			second := newFleet(t, 3)
			second.machine()
			second.ok(ForgetResults(ctx, cfg.WorkDir))
			again := second.train(cfg, list, 9)
			if len(again) != 3 || !slices.Contains(again, done[0]) || slices.Contains(again, done[1]) {
				t.Errorf("trained %v after %v, of which %s is finished", again, done, done[1])
			}
			publish := func(cfg Config) []Result {
				results, err := Results(cfg.WorkDir)
				second.ok(err)
				second.ok(Publish(ctx, results, cfg.OutDir, cfg.WorkDir, base))
				return results
			}
			results := publish(cfg)
			if len(results) != len(sizes) || results[1].Key != "bob" || results[1].Skipped != ReasonTooFew {
				t.Errorf("%+v", results)
			}
			same(t, pullAll(t, cfg.OutDir), want)
			if files, err := storage.Glob(storage.Join(cfg.RejectsDir, "*.zst")); err != nil || len(files) != 1 {
				t.Errorf("dead letters %v (%v)", files, err)
			}

			// Finished, and forgetting, by which time the work folder has gone.
			_, err := storage.RemoveTree(ctx, cfg.WorkDir)
			second.ok(err)
			if again := newFleet(t, 1).train(cfg, list, 9); len(again) != 0 {
				t.Errorf("trained %v of a finished run", again)
			}
			cfg.Forget, cfg.WorkDir = forgetting.Forget, cfg.WorkDir+"-2"
			if again := newFleet(t, 2).train(cfg, list, 9); !slices.Equal(again, []string{"ann"}) {
				t.Errorf("trained %v for documents of ann and dan", again)
			}
			publish(cfg)
			same(t, pullAll(t, cfg.OutDir), less)

			// What is damaged or missing is found, and made again.
			damaged := storage.Join(cfg.OutDir, KeyName("eve"), peft.TensorFile)
			weights, err := storage.ReadFile(damaged)
			second.ok(err)
			second.ok(storage.WriteFile(damaged, weights[:len(weights)-4]))
			if again := newFleet(t, 1).train(cfg, list, 9); !slices.Equal(again, []string{"eve"}) {
				t.Errorf("trained %v, and eve's weights were cut", again)
			}
			publish(cfg)
			same(t, pullAll(t, cfg.OutDir), less)
			second.ok(storage.Remove(storage.Join(cfg.OutDir, KeyName("eve"), peft.ConfigFile)))
			_, err = storage.RemoveTree(ctx, cfg.WorkDir)
			second.ok(err)
			if again := newFleet(t, 1).train(cfg, list, 9); !slices.Equal(again, []string{"eve"}) {
				t.Errorf("trained %v, and eve's folder lacks a file", again)
			}
			second.ok(storage.Remove(storage.Join(textsDir(cfg.WorkDir), KeyName("eve"), peft.ConfigFile)))
			if err := Publish(ctx, publishable(t, cfg), cfg.OutDir, cfg.WorkDir, base); err == nil {
				t.Error("a folder without its configuration was published")
			}
		})
	}
}

func publishable(t *testing.T, cfg Config) []Result {
	t.Helper()
	r, err := Results(cfg.WorkDir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readAll are the files of a local folder, by their paths in it.
func readAll(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(rel)], err = os.ReadFile(p)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// pullAll is readAll of a location.
func pullAll(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	if storage.IsLocal(dir) {
		return readAll(t, dir)
	}
	out := map[string][]byte{}
	if err := storage.List(t.Context(), dir, func(i storage.Info) (err error) {
		out[strings.TrimPrefix(i.URI, dir+"/")], err = storage.ReadFile(i.URI)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares all files but the bindings in metrics.json, which depend on nothing that a folder has.
func same(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Errorf("files %v, want %v", g, w)
		return
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s: other bytes\n%.600s\nthan\n%.600s", name, got[name], want[name])
		}
	}
}
