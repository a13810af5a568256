package train

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// killed names the folder of a child process that ends itself while it trains.
const killed = "TEST_ADAPTER_KILLED"

// base is the embedded model.
func base(t *testing.T) string {
	t.Helper()
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// settings are those of a training of 8 steps, with a checkpoint after each third.
func settings(t *testing.T, work string) Settings {
	r := recipe.Default()
	r.Model.Path, r.Method = base(t), map[string]any{"peft_type": "LORA", "r": 4}
	r.Train.MaxSteps, r.Train.SaveSteps, r.Train.PerDeviceTrainBatchSize, r.Train.LearningRate = 8, 3, 2, 2e-3
	return Settings{Work: work, Model: r.Model, Method: r.Method, Train: r.Train, BaseName: "base"}
}

// adapted packs records into dir and trains on them.
func adapted(t *testing.T, dir string, set Settings, turned bool) (AdapterRef, error) {
	t.Helper()
	var records []ingest.Record
	for i := range 40 {
		text := fmt.Sprintf("Section %d of the page is about file number %d and what it holds.", i%7, i)
		records = append(records, ingest.Record{Text: text})
	}
	if turned {
		slices.Reverse(records)
	}
	prepare := recipe.Default().Prepare
	prepare.SequenceLength, prepare.TokensPerShard = 64, 400
	p, s := beam.NewPipelineWithRoot()
	docs, rejects := tokenize.Records(s, tokenize.Settings{Tokenizer: base(t), Ends: prepare.Ends, Seed: 7, Pack: prepare.PackOptions},
		beam.CreateList(s, records))
	end.Of(s, rejects)
	shards := pack.Records(s, pack.Settings{Dir: storage.Join(dir, "shards"), Work: storage.Join(dir, "packing"), Name: "pages",
		Tokenizer: base(t), Prepare: prepare, Seed: 7}, docs)
	seen := jobstest.Collect(s, Adapter(s, set, shards))
	if err := jobs.Prism(t.Context(), p, "train"); err != nil {
		return AdapterRef{}, err
	}
	if len(seen()) != 1 {
		t.Fatalf("%d adapters", len(seen()))
	}
	return seen()[0].Value.(AdapterRef), nil
}

// TestAdapter: a collection of records becomes the adapter that a session trains on the same shards in one piece, whatever order the
// records come in, and however often the process was killed; settings and data that do not go together are errors that say so.
func TestAdapter(t *testing.T) {
	if dir := os.Getenv(killed); dir != "" {
		steps := 0
		core.Watch("", func(p core.Progress) {
			if p.Step != nil {
				steps++
			}
			if steps == 5 { // behind the first checkpoint, before the second
				self, err := os.FindProcess(os.Getpid())
				if err == nil {
					err = self.Kill()
				}
				t.Log(err)
				select {}
			}
		})
		_, err := adapted(t, dir, settings(t, filepath.Join(dir, "work")), false)
		t.Fatal("not killed", err)
	}
	whole := t.TempDir()
	set := settings(t, filepath.Join(whole, "work"))
	set.Train.SaveSteps = 100
	want, err := adapted(t, whole, set, true)
	if err != nil {
		t.Fatal(err)
	}
	if want.Name != "pages" || want.Step != 8 || want.Steps != 8 || want.Tokens == 0 || !(want.Loss > 0) || len(want.Hash) != 64 {
		t.Errorf("%+v", want)
	}

	job, _, err := want.Open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := datasets.ReadManifest(filepath.Join(whole, "shards"))
	if err != nil || len(m.Train) < 2 {
		t.Fatal(m, err)
	}
	job.Dir, job.SequenceLength = t.TempDir(), 64
	for _, s := range m.Train {
		job.Train = append(job.Train, core.ShardRef{Path: filepath.Join(whole, "shards", s.Path), SHA256: s.SHA256})
	}
	raw, err := json.Marshal(&job)
	if err != nil {
		t.Fatal(err)
	}
	defer core.CloseSessions()
	if err := core.Use(string(raw), func(s *core.Session) error { _, err := s.Advance(0, s.Total()); return err }); err != nil {
		t.Fatal(err)
	}
	if st, err := job.StateOf(8); err != nil || st.Values() != want.Hash {
		t.Errorf("a session trains another adapter: %v", err)
	}

	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestAdapter$")
	child.Env = append(os.Environ(), killed+"="+dir)
	if out, err := child.CombinedOutput(); err == nil || strings.Contains(string(out), "not killed") {
		t.Fatalf("%v: %s", err, out)
	}
	steps := 0
	stop := core.Watch("", func(p core.Progress) {
		if p.Step != nil {
			steps++
		}
	})
	got, err := adapted(t, dir, settings(t, filepath.Join(dir, "work")), false)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if steps != 5 {
		t.Errorf("%d steps after the kill: the checkpoint after step 3 is there", steps)
	}
	if got.Hash != want.Hash || got.Loss != want.Loss || got.Tokens != want.Tokens {
		t.Errorf("after a kill\n%+v\nwant\n%+v", got, want)
	}
	if again, err := adapted(t, dir, settings(t, filepath.Join(dir, "work")), true); err != nil || again != got {
		t.Errorf("run again: %+v, %v", again, err)
	}

	job, at, err := got.Open()
	if err != nil {
		t.Fatal(err)
	}
	trained, err := core.OpenTrained(t.Context(), job, at)
	if err != nil {
		t.Fatal(err)
	}
	if trained.Adapter == nil || len(trained.Params.List()) == 0 {
		t.Error("the reference opens nothing")
	}
	if err := trained.Close(); err != nil {
		t.Error(err)
	}

	classes := settings(t, filepath.Join(dir, "classes"))
	classes.Model.Task = "SEQ_CLS"
	if _, err := adapted(t, dir, classes, false); err == nil || !strings.Contains(err.Error(), "set Model.Task to SEQ_CLS for rows") {
		t.Error(err)
	}
}

// TestAdapterSettings: what a recipe refuses is refused when the graph is built.
func TestAdapterSettings(t *testing.T) {
	for want, wrong := range map[string]func(*Settings){
		"Work is not set":       func(c *Settings) { c.Work = "" },
		"method.peft_type":      func(c *Settings) { c.Method = nil },
		"replicas is 2":         func(c *Settings) { c.Train.Replicas = 2 },
		"train.learning_rate":   func(c *Settings) { c.Train.LearningRate = -1 },
		"model.path":            func(c *Settings) { c.Model.Path = "" },
		"which is not a method": func(c *Settings) { c.Method = map[string]any{"peft_type": "LoRAX"} },
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "train.Adapter: ") || !strings.Contains(r, want) {
					t.Errorf("%s: %s", want, r)
				}
			}()
			set := settings(t, t.TempDir())
			wrong(&set)
			_, s := beam.NewPipelineWithRoot()
			Adapter(s, set, beam.CreateList(s, []pack.ShardSet{{}}))
		}()
	}
}
