package tokenize

import (
	"cmp"
	"encoding/json"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// TestRecords: records have the ids, labels, spans and hashes of the group form, and so have their dead letters.
func TestRecords(t *testing.T) {
	dir, tokenizer := t.TempDir(), filepath.Join("..", "..", "tokenize", "testdata", "tokenizer")
	completion := func(prompt, answer string) string {
		raw, err := json.Marshal(map[string]string{"kind": datasets.RowPromptCompletion, "prompt": prompt, "completion": answer})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	g := ingest.Group{Source: "mine", Path: filepath.Join(dir, "mine.parquet"), Name: "mine"}
	records := []ingest.Record{
		{Text: "The ferry leaves at seven.", Key: "k"}, {Text: "Ünïcode and 数字 123"}, {Text: ""},
		{Text: "Where? At sea.", Row: completion("Where?", " At sea.")},
		{Text: "3", Row: `{"kind":"prompt_completion","prompt":3,"completion":"x"}`},
	}
	w, err := datasets.CreateRecords(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		records[i].Source, records[i].Index = g.Source, int64(i)
		d := records[i].Dataset()
		if err := w.Write(&d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	set := Settings{Tokenizer: tokenizer, Seed: 7, CompletionOnly: true,
		Pack: datasets.PackOptions{Strategy: datasets.PackBFD, SequenceLength: 64, IsolateDocuments: true}}
	p, s := beam.NewPipelineWithRoot()
	docs, rejects := Records(s, set, beam.Reshuffle(s, beam.CreateList(s, records)))
	seen, dead := jobstest.Collect(s, beam.Reshuffle(s, docs)), jobstest.Collect(s, rejects) // through the coder
	made, _ := Encode(s, &EncodeFn{TokenizerDir: tokenizer, Seed: 7, CompletionOnly: true, Pack: set.Pack, FileOrder: true, OutDir: dir,
		RejectsDir: dir}, beam.CreateList(s, []ingest.Group{g}))
	summaries := jobstest.Collect(s, made)
	if err := jobs.Prism(t.Context(), p, "tokenize"); err != nil {
		t.Fatal(err)
	}
	var got []datasets.StagedDoc
	for _, e := range seen() {
		got = append(got, e.Value.(datasets.StagedDoc))
	}
	slices.SortFunc(got, func(a, b datasets.StagedDoc) int { return cmp.Compare(a.Index, b.Index) })
	var sum Summary
	if err := json.Unmarshal([]byte(summaries()[0].Value.(string)), &sum); err != nil {
		t.Fatal(err)
	}
	rows := make([]int32, sum.Docs)
	for i := range rows {
		rows[i] = int32(i)
	}
	want, err := datasets.ReadDocs(sum.Path, g.Source, 0, rows)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) || len(want) < 3 {
		t.Errorf("%+v\nthe group form gives\n%+v", got, want)
	}
	var gone, letters []datasets.Reject
	for _, e := range dead() {
		r := e.Value.(datasets.Reject)
		if len(r.Record) == 0 {
			r.Record = nil // no bytes are none
		}
		gone = append(gone, r)
	}
	slices.SortFunc(gone, func(a, b datasets.Reject) int { return cmp.Compare(a.Index, b.Index) })
	if err := datasets.ReadRejects(sum.Rejects, func(r *datasets.Reject) bool {
		letters = append(letters, *r)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gone, letters) || len(gone) != 2 {
		t.Errorf("%+v\nthe group form rejects\n%+v", gone, letters)
	}
}

// TestDocCoder: a document is what it was beyond its coder, and bytes that are cut are an error.
func TestDocCoder(t *testing.T) {
	d := datasets.StagedDoc{Index: 1 << 40, Hash: 1<<64 - 1, Split: 3}
	d.ID, d.Source, d.Key = "a#1", "a", "ü"
	for full := range 3 {
		switch full {
		case 1:
			d.Tokens, d.Labels, d.Spans = []int32{1, 1 << 30}, []int32{datasets.NoLoss, 2}, [][2]int32{{0, 3}, {1, 1}}
		case 2: // a class, labels that are the tokens, spans that go back and beyond
			d.Tokens, d.Labels, d.Spans = []int32{0, 7, -1}, []int32{math.MinInt32, 7, math.MaxInt32},
				[][2]int32{{5, math.MaxInt32}, {math.MinInt32, -3}, {-3, -4}}
		}
		b := marshalDoc(d)
		if got, err := unmarshalDoc(b); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%+v, %v", got, err)
		}
		for n := range b {
			if _, err := unmarshalDoc(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are read", n, len(b))
			}
		}
	}
}
