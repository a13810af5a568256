package perkey

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

func init() {
	beam.RegisterFunction(split)
	beam.RegisterFunction(keep)
}

type keyExample struct {
	Key string
	E   Example
}

func split(k keyExample) (string, Example) { return k.Key, k.E }

var results struct {
	sync.Mutex
	list []Result
}

func keep(raw string) {
	results.Lock()
	defer results.Unlock()
	var r Result
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		panic(err)
	}
	results.list = append(results.list, r)
}

func TestMain(m *testing.M) {
	beam.Init()
	os.Exit(m.Run())
}

// sizes are the examples of each key.
var sizes = map[string]int{"ann": 5, "bob": 1, "cleo/μ": 7, "dan": 3, "eve": 6}

func examples() (out []keyExample) {
	for _, key := range []string{"ann", "bob", "cleo/μ", "dan", "eve"} {
		for i := range sizes[key] + 1 {
			e := Example{ID: fmt.Sprintf("%s.jsonl#%d", key, i), Source: key + ".jsonl", End: 9, Eval: i == sizes[key]}
			for t := range 4 + (i*5+len(key))%9 {
				e.InputIDs = append(e.InputIDs, int32(3+(i*37+int(key[0])*11+t*t*13)%230))
			}
			out = append(out, keyExample{key, e})
		}
	}
	return out
}

func config(t *testing.T) Config {
	args := train.DefaultArgs()
	args.NumTrainEpochs, args.PerDeviceTrainBatchSize, args.LearningRate = 2, 2, 1e-2
	dir := t.TempDir()
	return Config{Job: train.Job{Args: args, Model: filepath.Join("..", "..", "model", "testdata", "models", "llama_gqa"), Method: "LORA",
		Config:   map[string]any{"r": 2, "target_modules": "all-linear"},
		BaseName: "base", SequenceLength: 16}, OutDir: filepath.Join(dir, "adapters"), WorkDir: filepath.Join(dir, "work"),
		RejectsDir: filepath.Join(dir, "rejects"), Keys: recipe.Keys{MinSequences: 2}}
}

// trainAll runs the transform over examples in the given order, a Create for each part of the cuts.
func trainAll(t *testing.T, cfg Config, list []keyExample, parts int) map[string]Result {
	t.Helper()
	results.list = nil
	p, s := beam.NewPipelineWithRoot()
	var cols []beam.PCollection
	for i := range parts {
		if part := list[len(list)*i/parts : len(list)*(i+1)/parts]; len(part) > 0 {
			cols = append(cols, beam.ParDo(s, split, beam.CreateList(s, part)))
		}
	}
	beam.ParDo0(s, keep, TrainPerKey(s, cfg, beam.Flatten(s, cols...)))
	if err := jobs.Prism(context.Background(), p, "keys"); err != nil {
		t.Fatal(err)
	}
	out := map[string]Result{}
	for _, r := range results.list {
		out[r.Key] = r
	}
	return out
}

func weights(t *testing.T, cfg Config, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(cfg.OutDir, KeyName(key), "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTrainPerKey: every key's adapter has the bytes of that key trained alone, however the examples are ordered and cut into bundles and
// groups; a key with too little data is a dead letter; a second run trains nothing; a forgotten document changes its key's adapter alone;
// an earlier adapter is where a key starts.
func TestTrainPerKey(t *testing.T) {
	list := examples()
	cfg := config(t)
	res := trainAll(t, cfg, list, 1)
	if len(res) != len(sizes) {
		t.Fatalf("results of %d keys, want %d", len(res), len(sizes))
	}
	if r := res["bob"]; r.Skipped != ReasonTooFew || r.Dir != "" {
		t.Errorf("a key of one example: %+v", r)
	}
	var dead []datasets.Reject
	files, _ := filepath.Glob(filepath.Join(cfg.RejectsDir, "*.zst"))
	for _, f := range files {
		if err := datasets.ReadRejects(f, func(r *datasets.Reject) bool { dead = append(dead, *r); return true }); err != nil {
			t.Fatal(err)
		}
	}
	if len(dead) != 1 || dead[0].Reason != ReasonTooFew || dead[0].Source != "bob.jsonl" || dead[0].Value != "1" ||
		dead[0].Threshold != "2" || string(dead[0].Record) != "bob" {
		t.Errorf("dead letters %+v", dead)
	}

	other := config(t)
	shuffled := slices.Clone(list)
	slices.Reverse(shuffled)
	other.GroupKeys = 2
	trainAll(t, other, shuffled, 7)
	m, err := train.Base(cfg.Job.Model, "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for key, n := range sizes {
		if key == "bob" {
			continue
		}
		if r := res[key]; r.Sequences != n || r.Steps != 2*((n+1)/2) && r.Steps != cfg.Job.Args.StepsFor(n) || r.EvalTokens == 0 ||
			r.Before == r.After || r.Dir != KeyName(key) {
			t.Errorf("%s: %+v", key, r)
		}
		if !bytes.Equal(weights(t, cfg, key), weights(t, other, key)) {
			t.Errorf("%s: the adapter depends on bundles or groups", key)
		}
		// Alone, by a Trainer.
		data, err := train.OpenShards([]string{filepath.Join(cfg.WorkDir, "keys", KeyName(key)+".parquet")})
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		a, err := train.OpenAdapter(m, "", "LORA", cfg.Job.Config, "base", cfg.Job.Args.Seed)
		if err != nil {
			t.Fatal(err)
		}
		params := nn.NewParams(1)
		defer params.Free()
		tr, err := train.NewTrainer(cfg.Job.Args, train.Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 16,
			Sequences: data.Len()})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for tr.Done() < tr.Total {
			if _, err := tr.Step(data, 0); err != nil {
				t.Fatal(err)
			}
		}
		alone := filepath.Join(t.TempDir(), "alone")
		if err := a.Save(alone, params, 0, peft.Card{}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(alone, "adapter_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, weights(t, cfg, key)) {
			t.Errorf("%s: the adapter is not that of the key trained alone", key)
		}
	}

	// Again: nothing is trained.
	stop := Watch(cfg.OutDir, func(r *Result) { t.Errorf("%s was trained again", r.Key) })
	again := trainAll(t, cfg, list, 3)
	stop()
	if again["ann"].After != res["ann"].After {
		t.Errorf("the second run has %+v, the first %+v", again["ann"], res["ann"])
	}

	// A document forgotten.
	before := map[string][]byte{}
	for _, key := range []string{"ann", "cleo/μ", "dan"} {
		before[key] = weights(t, cfg, key)
	}
	cfg.Forget = []string{"ann.jsonl#2"}
	var trained []string
	stop = Watch(cfg.OutDir, func(r *Result) { trained = append(trained, r.Key) })
	forgotten := trainAll(t, cfg, list, 3)
	stop()
	if !slices.Equal(trained, []string{"ann"}) || forgotten["ann"].Sequences != sizes["ann"]-1 {
		t.Errorf("trained %v for a document of ann; %d sequences", trained, forgotten["ann"].Sequences)
	}
	if bytes.Equal(before["ann"], weights(t, cfg, "ann")) || !bytes.Equal(before["dan"], weights(t, cfg, "dan")) {
		t.Error("forgetting changed the wrong adapters")
	}
	line, err := os.ReadFile(filepath.Join(cfg.OutDir, KeyName("ann"), LineageFile))
	if err != nil || strings.Contains(string(line), "#2") || strings.Count(string(line), "\n") != sizes["ann"]-1 ||
		!strings.Contains(string(line), `"doc_id":"ann.jsonl#3"`) {
		t.Errorf("%v: the lineage is %s", err, line)
	}

	// From earlier adapters.
	warm := config(t)
	warm.InitAdapters = other.OutDir
	if r := trainAll(t, warm, list, 2); !r["dan"].Warm || bytes.Equal(weights(t, warm, "dan"), weights(t, other, "dan")) ||
		r["dan"].Before != res["dan"].Before {
		t.Errorf("a warm start gave %+v", r["dan"])
	}
}

// TestWithout: the pieces of a packed sequence that are not forgotten stay as they are.
func TestWithout(t *testing.T) {
	q := datasets.Sequence{InputIDs: []int32{1, 2, 3, 4, 5}, Labels: []int32{-100, 2, -100, 4, 5}, DocStarts: []int32{0, 2},
		DocIDs:   []string{"a#0", "b#0"},
		DocSpans: [][2]int32{{0, 4}, {3, 9}}, Sources: []string{"a", "b"}}
	got := q.Without([]string{"a#0"})
	if err := got.Validate(); err != nil || fmt.Sprint(got.InputIDs, got.Labels, got.DocStarts, got.DocIDs,
		got.DocSpans) != "[3 4 5] [-100 4 5] [0] [b#0] [[3 9]]" {
		t.Errorf("%v: %+v", err, got)
	}
	if got := q.Without([]string{"a#0", "b#0"}); len(got.InputIDs) != 0 {
		t.Errorf("everything forgotten leaves %+v", got)
	}
}
