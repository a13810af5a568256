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

	"github.com/adaptflow/adaptflow/datasets/parts"
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
	records = append(records, records[0], records[57], records[57], records[57], records[57]) // equal ids are equal records of one group
	for _, windowed := range []bool{false, true} {
		t.Run(fmt.Sprintf("windowed=%v", windowed), func(t *testing.T) { testWriteRead(t, records, windowed) })
	}
}

func testWriteRead(t *testing.T, records []ingest.Record, windowed bool) {
	const most = 2000
	run := func(dir string, lists ...[]ingest.Record) (groups []Group, back []ingest.Record, windows map[string]bool) {
		p, s := beam.NewPipelineWithRoot()
		var all []beam.PCollection
		for _, l := range lists {
			all = append(all, beam.Reshuffle(s, beam.CreateList(s, l)))
		}
		in := beam.ParDo(s, atMinute, beam.Flatten(s, all...))
		if windowed {
			in = beam.WindowInto(s, window.NewFixedWindows(time.Minute), in)
		}
		written := Write(s, Settings{Dir: dir, PartBytes: 3000, Parts: 3, Bytes: most}, in)
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
			want := fmt.Sprint(window.IntervalWindow{Start: at, End: at.Add(time.Minute)})
			if !windowed {
				want = fmt.Sprint(window.GlobalWindow{})
			}
			if e.Window != want {
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
	if !reflect.DeepEqual(back, want) || len(windows) != map[bool]int{false: 1, true: 2}[windowed] {
		t.Errorf("in windows %v:\n%+v, written was\n%+v", windows, back, want)
	}
	often := records[57].Identified()
	repeated := fmt.Sprintf("%x", IDHash(&often))
	n, ids := int64(0), map[string]bool{} // ids that a group began or ended with
	for _, g := range groups {
		n += g.Records
		if g.Bytes > most && (repeated < g.First || repeated > g.Last) || ids[g.First] || g.First > g.Last || g.Path != g.Hash+".parquet" {
			t.Errorf("%+v", g)
		}
		ids[g.First], ids[g.Last] = true, true
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
		if e.IsDir() { // of what is staged between
			continue
		}
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
		fn := &windowFn{Dir: t.TempDir(), Bytes: 1 << 20}
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

// TestReferencesAreShuffled: what passes through the shuffles of a global window has no field of a record.
func TestReferencesAreShuffled(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	Read(s, Write(s, Settings{Dir: t.TempDir()}, beam.CreateList(s, []ingest.Record{{Text: "a"}})))
	got := jobstest.Shuffled(t, p)
	if len(got) < 4 || slices.ContainsFunc(got, func(of string) bool { return strings.Contains(of, "ingest.Record") }) {
		t.Errorf("shuffled are %q", got)
	}
}

// TestDamagedRecord: a staged record that is cut anywhere, or has more than it says, is an error.
func TestDamagedRecord(t *testing.T) {
	set := parts.NewSet(0)
	r := ingest.Record{Source: "a", Index: 300, Text: "text", Key: "k", Row: "{}", Label: "l", URL: "u", Print: strings.Repeat("0", 32)}
	line := addRecord(set, nil, &r)
	if _, back, err := readRecord(line); err != nil || back != r {
		t.Fatalf("%+v, %v", back, err)
	}
	for n := range line {
		if _, _, err := readRecord(line[:n]); err == nil {
			t.Errorf("cut to %d bytes of %d it is read", n, len(line))
		}
	}
	if _, _, err := readRecord(append(line, 0)); err == nil {
		t.Error("a byte more is read")
	}
}
