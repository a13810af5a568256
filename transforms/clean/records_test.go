package clean

import (
	"cmp"
	"encoding/json"
	"fmt"
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

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

func init() {
	beam.RegisterFunction(atMinute)
	beam.RegisterFunction(recordOf)
}

func recordOf(text string) ingest.Record { return ingest.Record{Text: text} }

// atMinute gives a record the minute of its index.
func atMinute(r ingest.Record) (beam.EventTime, ingest.Record) {
	return mtime.FromTime(time.Unix(60*r.Index+1, 0)), r
}

// verdict is what became of a record, in either form.
type verdict struct {
	Kept   ingest.Record
	Reject datasets.Reject
}

func sorted(all []verdict) []verdict {
	slices.SortFunc(all, func(a, b verdict) int { return cmp.Compare(a.Kept.Index+a.Reject.Index, b.Kept.Index+b.Reject.Index) })
	return all
}

// TestRecords: a user's own records have the verdicts, texts and dead letters of the group form, and keep their windows.
func TestRecords(t *testing.T) {
	texts := []string{
		"The ferry leaves at seven in the morning, and it comes back at nine. Bring a coat.", "No.",
		"One line that has words.\n* * *\nAnother line after it.", strings.Repeat("again and again ", 40),
		"Write to anna.example@example.org or call; the office is open on Mondays.", "Ein deutscher Satz, der über Schiffe spricht.",
		"lorem ipsum dolor sit amet", "javascript must be enabled to read this page.\nThe text of the page goes on here, at length.",
	}
	row := `{"kind":"prompt_completion","prompt":"Where is the ferry?","completion":"Ask anna.example@example.org at sea."}`
	var records []ingest.Record
	for i, text := range texts {
		records = append(records, ingest.Record{Source: "mine", Index: int64(i), Text: text, Key: "k", URL: "https://example.org/a"})
	}
	records = append(records, ingest.Record{Source: "mine", Index: int64(len(texts)), Row: row,
		Text: "Where is the ferry?\nAsk anna.example@example.org at sea."})
	chains := []rules.Steps{
		{},
		{{"rule": "length", "min_words": 3}},
		{{"rule": "symbol_lines"}, {"rule": "length", "min_words": 5}},
		{{"rule": "gopher_repetition"}},
		{{"rule": "c4", "min_num_sentences": 1}},
		{{"rule": "pii"}},
		{{"rule": "docs"}},
		{{"rule": "language", "languages": []string{"en"}, "candidates": []string{"de"}}},
	}
	p, s := beam.NewPipelineWithRoot()
	group := stageOf(t, records)
	type run struct {
		kept, rejects, groups, totals func() []jobstest.Seen

		dir string
	}
	var runs []run
	timed := beam.WindowInto(s, window.NewFixedWindows(time.Minute), beam.ParDo(s, atMinute, beam.CreateList(s, records)))
	for _, c := range chains {
		r := run{dir: t.TempDir()}
		kept, rejects := Records(s, Settings{Rules: c}, timed)
		r.kept, r.rejects = jobstest.Collect(s, kept), jobstest.Collect(s, rejects)
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		fn := &RulesFn{Rules: string(raw), Language: "en", OutDir: r.dir, RejectsDir: r.dir}
		left, totals := Rules(s, fn, beam.CreateList(s, []ingest.Group{group}))
		r.groups, r.totals = jobstest.Collect(s, left), jobstest.Collect(s, totals)
		runs = append(runs, r)
	}
	if err := jobs.Prism(t.Context(), p, "clean"); err != nil {
		t.Fatal(err)
	}
	all := 0
	for i, c := range chains {
		var got []verdict
		for _, e := range runs[i].kept() {
			got = append(got, verdict{Kept: e.Value.(ingest.Record)})
			inWindow(t, e, e.Value.(ingest.Record).Index)
		}
		for _, e := range runs[i].rejects() {
			got = append(got, verdict{Reject: e.Value.(datasets.Reject)})
			inWindow(t, e, e.Value.(datasets.Reject).Index)
			all++
		}
		if want := groupForm(t, runs[i].groups(), runs[i].totals()); !reflect.DeepEqual(sorted(got), sorted(want)) {
			t.Errorf("%v:\n%+v\nthe group form gives\n%+v", c, got, want)
		}
	}
	if all < 5 {
		t.Errorf("%d rejects of all rules", all)
	}
}

// TestUnbounded: records of a stream are judged as they come, each in its window, and counted.
func TestUnbounded(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	c := teststream.NewConfig()
	for i, text := range []string{"The ferry leaves at seven.", "No.", "It comes back at nine."} {
		at := int64(i) * 60_000
		if err := c.AddElements(at+1000, text); err != nil {
			t.Fatal(err)
		}
		c.AdvanceWatermark(at + 30_000)
	}
	c.AdvanceWatermarkToInfinity()
	texts := beam.WindowInto(s, window.NewFixedWindows(time.Minute), teststream.Create(s, c))
	kept, rejects := Records(s, Settings{Rules: rules.Steps{{"rule": "length", "min_words": 3}}}, beam.ParDo(s, recordOf, texts))
	seen, dead := jobstest.Collect(s, kept), jobstest.Collect(s, rejects)
	counted, err := jobs.PrismMetrics(t.Context(), p, "stream")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, c := range counted.AllMetrics().Counters() {
		counts[c.Name()] += c.Result()
	}
	for name, want := range map[string]int64{"documents_in": 3, "documents_out": 2, "rejected.length.too_few_words": 1,
		"bytes_in": 51, "bytes_out": 48} {
		if counts[name] != want {
			t.Errorf("%s is %d, want %d", name, counts[name], want)
		}
	}
	if len(seen()) != 2 || len(dead()) != 1 {
		t.Fatalf("%v kept, %v rejected", seen(), dead())
	}
	for _, e := range seen() {
		minute := int64(0)
		if strings.HasPrefix(e.Value.(ingest.Record).Text, "It") {
			minute = 2
		}
		inWindow(t, e, minute)
	}
	inWindow(t, dead()[0], 1)
}

// TestSettings: wrong settings are the program's fault.
func TestSettings(t *testing.T) {
	defer func() {
		if said := fmt.Sprint(recover()); !strings.Contains(said, `"lenght" is unknown`) {
			t.Error(said)
		}
	}()
	_, s := beam.NewPipelineWithRoot()
	Records(s, Settings{Rules: rules.Steps{{"rule": "lenght"}}}, beam.CreateList(s, []ingest.Record{{Text: "a"}}))
}

func inWindow(t *testing.T, e jobstest.Seen, minute int64) {
	t.Helper()
	at := mtime.FromTime(time.Unix(60*minute, 0))
	if want := fmt.Sprint(window.IntervalWindow{Start: at, End: at.Add(time.Minute)}); e.Window != want {
		t.Errorf("%v is in the window %s, want %s", e.Value, e.Window, want)
	}
}

// stageOf stages records as ingest.Read does.
func stageOf(t *testing.T, records []ingest.Record) ingest.Group {
	t.Helper()
	g := ingest.Group{Source: "mine", Path: filepath.Join(t.TempDir(), "mine.parquet"), Name: "mine"}
	w, err := datasets.CreateRecords(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		d := r.Dataset()
		if err := w.Write(&d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return g
}

// groupForm reads what the group form made of a group.
func groupForm(t *testing.T, groups, totals []jobstest.Seen) (out []verdict) {
	t.Helper()
	var sum stage.Totals
	if err := json.Unmarshal([]byte(totals[0].Value.(string)), &sum); err != nil {
		t.Fatal(err)
	}
	for _, e := range groups { // a group of none has no rows, and is none
		g := e.Value.(ingest.Group)
		kept, err := datasets.ReadRecords(g.Path, g.Source, g.Group)
		if err != nil {
			t.Fatal(err)
		}
		for i := range kept {
			out = append(out, verdict{Kept: ingest.RecordOf(&kept[i])})
		}
	}
	if int(sum.Kept) != len(out) || int(sum.Left) != len(groups) || sum.Groups != 1 {
		t.Errorf("%+v of %d records", sum, len(out))
	}
	for _, rejects := range sum.Rejects {
		if err := datasets.ReadRejects(rejects, func(r *datasets.Reject) bool {
			out = append(out, verdict{Reject: *r})
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
