package words

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/golden"
)

func gunzip(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenDecontamination compares the first n-gram found in each document, in three settings.
func TestGoldenDecontamination(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "../rules/testdata"), "datatrove")
	tasks := filepath.Join(t.TempDir(), "tasks.jsonl")
	if err := os.WriteFile(tasks, gunzip(t, filepath.Join(dir, "decont_tasks.jsonl.gz")), 0o644); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	for _, name := range []string{"decont.jsonl.gz"} {
		dec := json.NewDecoder(jsonReader(gunzip(t, filepath.Join(dir, name))))
		for dec.More() {
			var row map[string]*string
			if err := dec.Decode(&row); err != nil {
				t.Fatal(err)
			}
			m := map[string]string{}
			for k, v := range row {
				if v != nil {
					m[k] = *v
				}
			}
			want[m["id"]] = m
		}
	}
	for _, c := range []struct {
		name  string
		n     int
		query bool
	}{{"default", 12, false}, {"query12", 12, true}, {"query8", 8, true}} {
		r, err := rules.Decode(map[string]any{"rule": "decontamination", "n_grams": c.n, "find_query_ngrams": c.query,
			"tasks": []any{map[string]any{"name": "gsm8k", "path": tasks, "query": "query", "label": "label"}}})
		if err != nil {
			t.Fatal(err)
		}
		n, found := 0, 0
		dec := json.NewDecoder(jsonReader(gunzip(t, filepath.Join(dir, "docs.jsonl.gz"))))
		for dec.More() {
			var d struct {
				ID, Text string
				File     *int
			}
			if err := dec.Decode(&d); err != nil {
				t.Fatal(err)
			}
			if d.File == nil || *d.File != 3 {
				continue // the reference looked at file 3 alone
			}
			n++
			v := r.Apply(&rules.Doc{Text: d.Text, Splitter: splitter(t, "en")})
			if !v.Keep {
				found++
			}
			if w := want[d.ID][c.name]; v.Value != w {
				t.Errorf("%s %s: %q, datatrove %q", c.name, d.ID, v.Value, w)
			}
		}
		t.Logf("%s: %d cases, %d contaminated", c.name, n, found)
	}
}
