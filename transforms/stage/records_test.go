package stage

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"

	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

func init() { beam.RegisterFunction(atMinute) }

// atMinute gives a record the minute of its index.
func atMinute(r ingest.Record) (beam.EventTime, ingest.Record) {
	return mtime.FromTime(time.Unix(60*r.Index+1, 0)), r
}

func byID(a, b ingest.Record) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Index, b.Index))
}

// TestWriteRead: what is read is what was written, in its window; the groups, their files' names and bytes are the same when the records
// come in another order and in other bundles, and are no larger than said.
func TestWriteRead(t *testing.T) {
	var records []ingest.Record
	for i := range 60 {
		r := ingest.Record{Text: fmt.Sprintf("text %d %s", i, strings.Repeat("and more ", i))}
		switch i % 3 {
		case 1:
			r.Source, r.Index, r.Key, r.URL = fmt.Sprint("a/b#c.jsonl", i), int64(i%2), fmt.Sprint("key ", i), "https://example.org"
		case 2:
			r.Row, r.Label = `{"kind":"classification"}`, "good"
		}
		records = append(records, r)
	}
	records = append(records, records[0]) // equal ids are equal records, as many as they are
	const most = 2000
	run := func(dir string, lists ...[]ingest.Record) (groups []Group, back []ingest.Record, windows map[string]bool) {
		p, s := beam.NewPipelineWithRoot()
		var all []beam.PCollection
		for _, l := range lists {
			all = append(all, beam.Reshuffle(s, beam.CreateList(s, l)))
		}
		timed := beam.WindowInto(s, window.NewFixedWindows(time.Minute), beam.ParDo(s, atMinute, beam.Flatten(s, all...)))
		written := Write(s, Settings{Dir: dir, Parts: 3, Bytes: most}, timed)
		staged, read := jobstest.Collect(s, written), jobstest.Collect(s, Read(s, written))
		if err := jobs.Prism(t.Context(), p, "stage"); err != nil {
			t.Fatal(err)
		}
		for _, e := range staged() {
			g := e.Value.(Group)
			g.Path = filepath.Base(g.Path)
			groups = append(groups, g)
		}
		windows = map[string]bool{}
		for _, e := range read() {
			r := e.Value.(ingest.Record)
			back = append(back, r)
			at := mtime.FromTime(time.Unix(60*r.Index, 0))
			if want := fmt.Sprint(window.IntervalWindow{Start: at, End: at.Add(time.Minute)}); e.Window != want {
				t.Errorf("%v is in the window %s, want %s", r, e.Window, want)
			}
			windows[e.Window] = true
		}
		slices.SortFunc(groups, func(a, b Group) int { return cmp.Compare(a.Path, b.Path) })
		slices.SortFunc(back, byID)
		return groups, back, windows
	}
	one, two := t.TempDir(), t.TempDir()
	groups, back, windows := run(one, records)
	var want []ingest.Record
	for _, r := range records {
		want = append(want, r.Identified())
	}
	slices.SortFunc(want, byID)
	if !reflect.DeepEqual(back, want) || len(windows) != 2 {
		t.Errorf("in windows %v:\n%+v, written was\n%+v", windows, back, want)
	}
	n := int64(0)
	for _, g := range groups {
		if n += g.Records; g.Bytes > most || g.First > g.Last || g.Path != g.Hash+".parquet" {
			t.Errorf("%+v", g)
		}
	}
	if n != int64(len(records)) || len(groups) < 6 {
		t.Errorf("%d groups of %d records", len(groups), n)
	}
	other := slices.Clone(records)
	slices.Reverse(other)
	again, _, _ := run(two, other[:7], other[7:30], other[30:])
	if !reflect.DeepEqual(again, groups) {
		t.Errorf("in another order:\n%+v\nfirst\n%+v", again, groups)
	}
	if a, b := files(t, one), files(t, two); !maps.Equal(a, b) || len(a) != len(groups) {
		t.Errorf("%d files, and %d of %d groups are others", len(a), len(b), len(groups))
	}
}

// files are the contents of a folder's files, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range all {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// TestReadAnother: a file that holds other records than were written is named.
func TestReadAnother(t *testing.T) {
	var groups []Group
	rows := [][]ingest.Record{{{Source: "a", Text: "one"}}, {{Source: "a", Text: "two"}}}
	for _, all := range rows {
		next := func(r *ingest.Record) bool {
			if len(all) == 0 {
				return false
			}
			*r, all = all[0].Identified(), all[1:]
			return true
		}
		fn := &writeFn{Dir: t.TempDir(), Bytes: 1 << 20}
		if err := fn.ProcessElement(t.Context(), 0, next, func(g Group) { groups = append(groups, g) }); err != nil {
			t.Fatal(err)
		}
	}
	back := 0
	if err := (&readFn{}).ProcessElement(t.Context(), groups[0], func(ingest.Record) { back++ }); err != nil || back != 1 {
		t.Error(back, err)
	}
	groups[0].Path = groups[1].Path
	err := (&readFn{}).ProcessElement(t.Context(), groups[0], func(ingest.Record) { t.Error("a record of another group") })
	if err == nil || !strings.Contains(err.Error(), groups[1].Path) {
		t.Error(err)
	}
	if len(groups) != 2 || groups[0].Hash == groups[1].Hash {
		t.Errorf("%+v", groups)
	}
}
