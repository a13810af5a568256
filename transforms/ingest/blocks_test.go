package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
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
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func init() { beam.RegisterFunction(fileAt) }

// fileAt is a reference to a file.
func fileAt(path string) File { return File{Path: path, Source: filepath.Base(path)} }

// largeFiles writes files of each format that is cut, small ones and some that are not, and returns them.
func largeFiles(t *testing.T) (files []File) {
	t.Helper()
	dir := t.TempDir()
	var lines, rows, framed bytes.Buffer
	z, err := zstd.NewWriter(&framed)
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[struct {
		Text string `parquet:"text"`
	}](&rows)
	for i := range 2000 {
		line := fmt.Sprintf(`{"text": "grüße %d %s", "extra": %d, "label": "l%d"}`, i, strings.Repeat("word ", i*i%97), i, i%3)
		switch i % 50 {
		case 3:
			line = "no JSON"
		case 7:
			line = ""
		case 11:
			line = `{"text": "nul \u0000"}`
		case 13:
			line += "\r"
		}
		lines.WriteString(line + "\n")
		z.Write([]byte(line + "\n"))
		if i%70 == 0 {
			z.Close()
			z.Reset(&framed)
		}
		if _, err := w.Write([]struct {
			Text string `parquet:"text"`
		}{{strings.Repeat(fmt.Sprint("row ", i, " "), i%40)}}); err != nil {
			t.Fatal(err)
		}
		if i%300 == 0 {
			w.Flush()
		}
	}
	z.Close()
	w.Close()
	damaged := bytes.Clone(framed.Bytes())
	damaged[len(damaged)/2] ^= 0x55
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{"lines.jsonl", lines.Bytes()},
		{"frames.jsonl.zst", framed.Bytes()},
		{"cut.jsonl.zst", framed.Bytes()[:framed.Len()*2/3]},
		{"damaged.jsonl.zst", damaged},
		{"rows.parquet", rows.Bytes()},
		{"text.txt", lines.Bytes()},
		{"table.csv", []byte("text,extra\n" + strings.Repeat("a,b\n\"c\nd\",e\n", 500))},
		{"small.jsonl", []byte(`{"text": "one"}` + "\n")},
		{"empty.txt", nil},
		{"bad.parquet", []byte("PAR1" + strings.Repeat("no rows ", 1000))},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, f.b, 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Ordinal: len(files), Rank: 7 - len(files), Path: path, Source: f.name})
	}
	return files
}

// staged is what the group form leaves of a file.
type staged struct {
	Totals  Totals // without what says how the file was cut
	Records []datasets.Record
	Rejects []datasets.Reject
}

// groupForm is what came out of a [Read].
type groupForm struct{ groups, totals func() []jobstest.Seen }

func readGroups(s beam.Scope, fn *ReadFn, files ...File) groupForm {
	groups, totals := Read(s, fn, beam.CreateList(s, files))
	return groupForm{jobstest.Collect(s, groups), jobstest.Collect(s, totals)}
}

// rows reads the groups, in their order, and the dead letters, and adds up the totals.
func (f *groupForm) rows(t *testing.T) (out staged, groups []Group) {
	t.Helper()
	for _, e := range f.totals() {
		var one Totals
		if err := json.Unmarshal([]byte(e.Value.(string)), &one); err != nil {
			t.Fatal(err)
		}
		out.Totals.Add(&one)
	}
	for _, e := range f.groups() {
		groups = append(groups, e.Value.(Group))
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Compare(a.Order, b.Order) })
	if int64(len(groups)) != out.Totals.Groups {
		t.Errorf("%d groups, said to be %d", len(groups), out.Totals.Groups)
	}
	for _, g := range groups {
		rows, err := datasets.ReadRecords(g.Path, g.Source, g.Group)
		if err != nil {
			t.Fatal(err)
		}
		if g.First != rows[0].Index || g.Last != rows[len(rows)-1].Index {
			t.Errorf("%+v has %d to %d", g, rows[0].Index, rows[len(rows)-1].Index)
		}
		out.Records = append(out.Records, rows...)
	}
	for _, file := range out.Totals.Rejects {
		if err := datasets.ReadRejects(file, func(r *datasets.Reject) bool {
			out.Rejects = append(out.Rejects, *r)
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	out.Totals.Groups, out.Totals.Rejects = 0, nil
	return out, groups
}

// stageAll reads each of the files by the group form, and returns what is staged of it, and how many row groups came out.
func stageAll(t *testing.T, files []File, size int64) (out []staged, counts map[string]int) {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	read := make([]groupForm, len(files))
	for i, f := range files {
		dir := t.TempDir()
		read[i] = readGroups(s, &ReadFn{StagedDir: dir, RejectsDir: dir, BlockBytes: size}, f)
	}
	if err := jobs.Prism(t.Context(), p, "ingest"); err != nil {
		t.Fatal(err)
	}
	counts = map[string]int{}
	names := map[string]bool{}
	for i, f := range files {
		one, groups := read[i].rows(t)
		out = append(out, one)
		counts[f.Source] = len(groups)
		for k, g := range groups {
			if names[g.Name] || g.Order != int64(f.Ordinal)<<32|int64(k) {
				t.Errorf("%+v", g)
			}
			names[g.Name] = true
		}
	}
	return out, counts
}

// TestReadByBlocks: large files have the records, dead letters and summaries by blocks that they have whole, and so has the other form.
func TestReadByBlocks(t *testing.T) {
	files := largeFiles(t)
	want, _ := stageAll(t, files, 1<<30)
	for _, size := range []int64{2000, 16 << 10} {
		got, groups := stageAll(t, files, size)
		for i, f := range files {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s by blocks of %d bytes: %d records, %d dead letters, %+v\nwhole: %d records, %d dead letters, %+v",
					f.Source, size, len(got[i].Records), len(got[i].Rejects), got[i].Totals,
					len(want[i].Records), len(want[i].Rejects), want[i].Totals)
			}
		}
		for source, least := range map[string]int{"lines.jsonl": 10, "frames.jsonl.zst": 3, "rows.parquet": 3, "text.txt": 10} {
			if groups[source] < least {
				t.Errorf("%s by blocks of %d bytes has %d row groups", source, size, groups[source])
			}
		}
	}
	dir := t.TempDir()
	p, s := beam.NewPipelineWithRoot()
	records, rejects := Records(s, Settings{BlockBytes: 2000}, beam.CreateList(s, files))
	seen, dead := jobstest.Collect(s, beam.Reshuffle(s, records)), jobstest.Collect(s, beam.Reshuffle(s, rejects))
	twice := readGroups(s, &ReadFn{StagedDir: dir, RejectsDir: dir, BlockBytes: 2000}, files[0], files[0]) // is read as one
	if err := jobs.Prism(t.Context(), p, "ingest"); err != nil {
		t.Fatal(err)
	}
	if got, _ := twice.rows(t); !reflect.DeepEqual(got, want[0]) {
		t.Errorf("a file that is there twice: %+v", got.Totals)
	}
	of := map[string][]Record{}
	for _, e := range seen() {
		r := e.Value.(Record)
		of[r.Source] = append(of[r.Source], r)
	}
	letters := map[string]int{}
	for _, e := range dead() {
		letters[e.Value.(datasets.Reject).Source]++
	}
	for i, f := range files {
		rows := of[f.Source]
		slices.SortFunc(rows, func(a, b Record) int { return cmp.Compare(a.Index, b.Index) })
		var all []Record
		for k := range want[i].Records {
			all = append(all, RecordOf(&want[i].Records[k]))
		}
		if !reflect.DeepEqual(rows, all) || letters[f.Source] != len(want[i].Rejects) {
			t.Errorf("%s as records: %d and %d dead letters, want %d and %d", f.Source, len(rows), letters[f.Source], len(all),
				len(want[i].Rejects))
		}
	}
}

// TestStreamOfFiles: files of a stream are read by blocks as they come, and their records are in the files' windows.
func TestStreamOfFiles(t *testing.T) {
	dir := t.TempDir()
	p, s := beam.NewPipelineWithRoot()
	c := teststream.NewConfig()
	for i := range int64(3) {
		path := filepath.Join(dir, fmt.Sprint(i, ".txt"))
		if err := os.WriteFile(path, []byte(strings.Repeat("The ferry leaves at seven.\n", 100)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.AddElements(i*60_000+1000, path); err != nil {
			t.Fatal(err)
		}
		c.AdvanceWatermark(i*60_000 + 30_000)
	}
	c.AdvanceWatermarkToInfinity()
	paths := beam.WindowInto(s, window.NewFixedWindows(time.Minute), teststream.Create(s, c))
	records, _ := Records(s, Settings{BlockBytes: 1000}, beam.ParDo(s, fileAt, paths))
	seen := jobstest.Collect(s, records)
	if err := jobs.Prism(t.Context(), p, "stream"); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, e := range seen() {
		r := e.Value.(Record)
		ids[datasets.DocID(r.Source, r.Index)] = true
		at := mtime.FromTime(time.Unix(60*int64(r.Source[0]-'0'), 0))
		if want := fmt.Sprint(window.IntervalWindow{Start: at, End: at.Add(time.Minute)}); e.Window != want {
			t.Errorf("%s is in the window %s, want %s", r.Source, e.Window, want)
		}
	}
	if len(seen()) != 300 || len(ids) != 300 {
		t.Errorf("%d records, %d ids", len(seen()), len(ids))
	}
}
