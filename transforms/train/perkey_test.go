package train

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

func init() { beam.RegisterFunction(byKey) }

// byKey gives a record its key.
func byKey(r ingest.Record) (string, ingest.Record) { return r.Key, r }

// keySettings are those of a training by key of 4 steps, whose tokenizer is the base model's.
func keySettings(t *testing.T, dir string) KeySettings {
	one := settings(t, filepath.Join(dir, "work"))
	one.Train.MaxSteps = 4
	return KeySettings{Settings: one, Out: filepath.Join(dir, "adapters"), Rejects: filepath.Join(dir, "rejects"), SequenceLength: 32,
		Tokenize: tokenize.Settings{Tokenizer: base(t), Ends: recipe.Default().Prepare.Ends}, Held: 0.2, Keys: recipe.Keys{MinSequences: 3}}
}

// trainKeys trains the keys of records, and returns what became of each, and the dead letters.
func trainKeys(t *testing.T, set KeySettings, records []ingest.Record) (map[string]KeyAdapter, []datasets.Reject) {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	adapters, rejects := PerKey(s, set, beam.ParDo(s, byKey, beam.CreateList(s, records)))
	seen, dead := jobstest.Collect(s, adapters), jobstest.Collect(s, rejects)
	if err := jobs.Prism(t.Context(), p, "keys"); err != nil {
		t.Fatal(err)
	}
	out := map[string]KeyAdapter{}
	for _, e := range seen() {
		k := e.Value.(KeyAdapter)
		out[k.Key] = k
	}
	var all []datasets.Reject
	for _, e := range dead() {
		all = append(all, e.Value.(datasets.Reject))
	}
	return out, all
}

// TestPerKey: records of keys become an adapter a key, each with the bytes of the key trained alone, whatever order the records come in; a
// key with too few records has none, and a row without a completion is a dead letter.
func TestPerKey(t *testing.T) {
	var records, ann []ingest.Record
	for i := range 36 {
		text := fmt.Sprintf("Note %d says where file number %d is kept.", i, i*7)
		r := ingest.Record{Key: []string{"ann", "bob", "cleo"}[i%3], Text: text}
		records = append(records, r)
		if r.Key == "ann" {
			ann = append(ann, r)
		}
	}
	records = append(records, ingest.Record{Key: "dan", Text: "One note."},
		ingest.Record{Key: "ann", Text: "3", Row: `{"kind":"prompt_completion","prompt":3,"completion":"x"}`})
	dir := t.TempDir()
	got, dead := trainKeys(t, keySettings(t, dir), records)
	if len(got) != 4 || len(dead) != 1 || dead[0].Rule != "tokenize" {
		t.Fatalf("%+v, dead letters %+v", got, dead)
	}
	if d := got["dan"]; d.Dir != "" || d.Skipped != "too_few_examples" {
		t.Errorf("%+v", d)
	}
	held := int64(0)
	for _, key := range []string{"ann", "bob", "cleo"} {
		k := got[key]
		if _, err := os.Stat(filepath.Join(k.Dir, "adapter_config.json")); err != nil || k.Skipped != "" || k.Steps != 4 || k.Tokens == 0 ||
			k.Hash == "" || k.Dir != filepath.Join(dir, "adapters", filepath.Base(k.Dir)) {
			t.Errorf("%+v, %v", k, err)
		}
		held += k.HeldTokens
		if k.HeldTokens > 0 && !(k.After < k.Before) {
			t.Errorf("nothing is learnt: %+v", k)
		}
	}
	if held == 0 {
		t.Error("nothing is held out")
	}
	slices.Reverse(ann)
	alone, _ := trainKeys(t, keySettings(t, t.TempDir()), ann)
	if a, b := alone["ann"], got["ann"]; a.Hash != b.Hash || a.After != b.After {
		t.Errorf("alone\n%+v\namong others\n%+v", a, b)
	}
}

// TestPerKeySettings: what a recipe by key refuses is refused when the graph is built.
func TestPerKeySettings(t *testing.T) {
	for want, wrong := range map[string]func(*KeySettings){
		"Out is not set":                func(c *KeySettings) { c.Out = "" },
		"Held is 1":                     func(c *KeySettings) { c.Held = 1 },
		"train.early_stopping_patience": func(c *KeySettings) { c.Train.EarlyStoppingPatience, c.Train.EvalSteps = 1, 1 },
		"group_keys":                    func(c *KeySettings) { c.GroupKeys = -1 },
		"are folders that all workers":  func(c *KeySettings) { c.Work = "s3://b/work" },
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "train.PerKey: ") || !strings.Contains(r, want) {
					t.Errorf("%s: %s", want, r)
				}
			}()
			set := keySettings(t, t.TempDir())
			wrong(&set)
			_, s := beam.NewPipelineWithRoot()
			PerKey(s, set, beam.ParDo(s, byKey, beam.CreateList(s, []ingest.Record{{}})))
		}()
	}
}
