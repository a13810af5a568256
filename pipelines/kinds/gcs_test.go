package kinds

import (
	"io/fs"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// gcsServer is the Google Cloud Storage server of the process's tests: its client is made once.
var gcsServer = sync.OnceValues(func() (*httptest.Server, error) {
	store, err := storagetest.NewStore("", "bucket")
	if err != nil {
		return nil, err
	}
	return httptest.NewServer((&storagetest.GCS{Store: store}).Handler()), nil
})

// TestKindsOnGCS: runs of every kind whose output is on Google Cloud Storage give the adapters of runs in a folder, to the byte, also where
// the driver is lost at its work and another, with an empty cache, goes on.
func TestKindsOnGCS(t *testing.T) {
	objects.Register()
	s, err := gcsServer()
	if err != nil {
		t.Fatal(err)
	}
	storagetest.HideSettings(t)
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(s.URL, "http://"))
	in, err := filepath.Abs(small)
	if err != nil {
		t.Fatal(err)
	}
	held := "eval_input=" + filepath.Join(in, "held.jsonl")
	text := filepath.Join(in, "text.jsonl")
	for _, c := range []struct {
		template, input string
		adapters, lost  int // lost is the event at which the first driver ends
		set             []string
	}{
		{"domain-adaptation", text, 1, 9, []string{held}},
		{"classification", filepath.Join(in, "labels.jsonl"), 1, 9, []string{"eval_input=" + filepath.Join(in, "labels-held.jsonl"),
			"data.general_input=[]"}},
		{"continual-learning", continualInput(t), 3, 9, []string{"continual.max_forgetting=5", "continual.max_domain_rise=5"}},
		{"personal-assistants", filepath.Join(in, "rows.jsonl"), 5, 2, []string{"key_column=user", "eval_input=", "data.general_input=[]",
			"keys.group_keys=1"}},
		{"compare-methods", text, 2, 9, []string{held, "compare.methods=[LORA, IA3]", "compare.learning_rates=[0.001]"}},
	} {
		t.Run(c.template, func(t *testing.T) {
			rec := afarRecipe(t, c.template, c.input, c.set...)
			local, output := filepath.Join(t.TempDir(), "local"), "gs://bucket/"+c.template
			if _, err := driver(t, rec, local, toTheEnd); err != nil {
				t.Fatal(err)
			}
			if _, err := driver(t, rec, output, func(event int, _ string, stop func()) {
				if event >= c.lost {
					stop()
				}
			}); !stopped(err) {
				t.Fatalf("the first driver was not lost: %v", err)
			}
			if _, err := driver(t, rec, output, toTheEnd); err != nil {
				t.Fatal(err)
			}
			var names []string
			if err := filepath.WalkDir(local, func(path string, d fs.DirEntry, err error) error {
				rel, rerr := filepath.Rel(local, path)
				if strings.HasPrefix(d.Name(), "adapter_") {
					names = append(names, filepath.ToSlash(rel))
				}
				if err == nil {
					err = rerr
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if len(names) != 2*c.adapters {
				t.Errorf("%d adapters, want %d: %v", len(names)/2, c.adapters, names)
			}
			sameAs(t, output, local, names...)
		})
	}
}
