package ingest

import (
	"cmp"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// TestRecords: files have the records and dead letters of the group form.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	var files []File
	for name, text := range map[string]string{
		"a.jsonl": `{"text": "one", "url": "https://example.org"}` + "\n{\"text\": 3}\nnot JSON\n" + `{"text": "two words"}` + "\n",
		"b.txt":   "first line\nsecond line\n",
		"c.html":  "<html><body><p>" + "A page has a text of some length, which is what is wanted of it. " + "</p></body></html>",
		"d.gz":    "\x1f\x8b no gzip",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Ordinal: len(files), Path: path, Source: name})
	}
	p, s := beam.NewPipelineWithRoot()
	in := beam.CreateList(s, files)
	records, rejects := Records(s, Settings{Pages: map[string]any{}}, in)
	seen, dead := jobstest.Collect(s, beam.Reshuffle(s, records)), jobstest.Collect(s, beam.Reshuffle(s, rejects)) // through the coders
	form := readGroups(s, &ReadFn{StagedDir: dir, RejectsDir: dir, Pages: `{"rule": "html_text"}`}, files...)
	if err := jobs.Prism(t.Context(), p, "ingest"); err != nil {
		t.Fatal(err)
	}
	var got, want []Record
	var gone, letters []datasets.Reject
	for _, e := range seen() {
		got = append(got, e.Value.(Record))
	}
	for _, e := range dead() {
		r := e.Value.(datasets.Reject)
		if len(r.Record) == 0 {
			r.Record = nil // no bytes are none
		}
		gone = append(gone, r)
	}
	rows, _ := form.rows(t)
	letters = rows.Rejects
	for i := range rows.Records {
		want = append(want, RecordOf(&rows.Records[i]))
	}
	for _, all := range [][]Record{got, want} {
		slices.SortFunc(all, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Index, b.Index)) })
	}
	for _, all := range [][]datasets.Reject{gone, letters} {
		slices.SortFunc(all, func(a, b datasets.Reject) int {
			return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Index, b.Index))
		})
	}
	if !reflect.DeepEqual(got, want) || len(got) < 5 {
		t.Errorf("%+v\nthe group form reads\n%+v", got, want)
	}
	if !reflect.DeepEqual(gone, letters) || len(gone) < 3 {
		t.Errorf("%+v\nthe group form rejects\n%+v", gone, letters)
	}
}

// TestIdentified: what has no id gets one of its content; what has one keeps it, and its print outlives a change of the text.
func TestIdentified(t *testing.T) {
	a := Record{Text: "ab", Key: "c"}.Identified()
	for _, other := range []Record{{Text: "a", Key: "bc"}, {Text: "ab", URL: "c"}, {Text: "ab", Key: "c", Label: "d"}} {
		if b := other.Identified(); b.Source == a.Source {
			t.Errorf("%+v and %+v have one id", a, b)
		}
	}
	if len(a.Source) != 32 || a != (Record{Text: "ab", Key: "c"}).Identified() || a != a.Identified() {
		t.Errorf("%+v", a)
	}
	b := a
	b.Text = "changed"
	if b = b.Identified(); b.Source != a.Source || b.Print != a.Print {
		t.Errorf("%+v", b)
	}
	d := a.Dataset()
	if RecordOf(&d) != a || d.Print != datasets.PrintOf("ab") {
		t.Errorf("%+v", d)
	}
	if c := (Record{Source: "x", Text: "ab", Print: "not a print"}).Identified(); c.Source != "x" || c.Print != a.Print {
		t.Errorf("%+v", c)
	}
}
