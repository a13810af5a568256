package dedupe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// collect is [jobstest.Collect] of one type.
func collect[T any](s beam.Scope, elements beam.PCollection) func() []T {
	seen := jobstest.Collect(s, elements)
	return func() (out []T) {
		for _, e := range seen() {
			out = append(out, e.Value.(T))
		}
		return out
	}
}

// similar are records of which many repeat others, whole, nearly or in their last line, in the order of the hashes of their ids.
func similar() (all []ingest.Record) {
	rng := rand.New(rand.NewPCG(1, 1))
	var texts []string
	for i := range 240 {
		var w []string
		switch {
		case i > 20 && i%6 == 0:
			texts = append(texts, texts[rng.IntN(i)])
			continue
		case i > 20 && i%4 == 0:
			w = strings.Fields(strings.Split(texts[rng.IntN(i)], "\n")[0])
			w[rng.IntN(len(w))] = "changed"
		default:
			for range 80 {
				w = append(w, string([]rune{'a' + rng.Int32N(26), 'a' + rng.Int32N(26), 'a' + rng.Int32N(26)}))
			}
		}
		texts = append(texts, strings.Join(w, " ")+fmt.Sprintf("\n\nThe closing words of every page of part %c.", 'a'+rune(i%9)))
	}
	for i, text := range texts {
		all = append(all, ingest.Record{Source: fmt.Sprintf("source %d", i%7), Index: int64(i), Text: text}.Identified())
	}
	slices.SortFunc(all, func(a, b ingest.Record) int {
		x, y := stage.IDHash(&a), stage.IDHash(&b)
		return bytes.Compare(x[:], y[:])
	})
	return all
}

// groupForm gives what a step of adaptflow run keeps of the records, by their places in the slice.
func groupForm(t *testing.T, said map[string]any, all []ingest.Record) map[int]string {
	t.Helper()
	dir := t.TempDir()
	raw, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	step, err := core.Decode(said)
	if err != nil {
		t.Fatal(err)
	}
	var groups []ingest.Group
	for from := 0; from < len(all); from += 50 {
		g := ingest.Group{Source: "x", Path: filepath.Join(dir, fmt.Sprintf("%d.parquet", from)), Name: fmt.Sprint("g", from),
			First: int64(from), Last: int64(min(from+50, len(all)) - 1)}
		w, err := datasets.CreateGroup(g.Path)
		if err != nil {
			t.Fatal(err)
		}
		for i := g.First; i <= g.Last; i++ {
			if err := w.Write(&datasets.Record{Source: "x", Index: i, Text: all[i].Text}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		groups = append(groups, g)
	}
	if err := storage.WriteFile(filepath.Join(dir, "sources.json"), []byte(`["x"]`)); err != nil {
		t.Fatal(err)
	}
	p, s := beam.NewPipelineWithRoot()
	signed := Sign(s, &SignFn{Settings: string(raw), Language: "en", OutDir: dir}, beam.CreateList(s, groups))
	Tasks(s, core.Plan{Settings: string(raw), Dir: dir}, step, signed)
	if err := jobs.Prism(t.Context(), p, "find"); err != nil {
		t.Fatal(err)
	}
	p, s = beam.NewPipelineWithRoot()
	kept, totals := Filter(s, &FilterFn{Settings: string(raw), Language: "en", Removals: core.RemovalsPath(dir),
		Sources: filepath.Join(dir, "sources.json"), Stage: "s", OutDir: filepath.Join(dir, "out"),
		RejectsDir: filepath.Join(dir, "rejects")},
		beam.CreateList(s, groups))
	end.Of(s, totals)
	left := collect[ingest.Group](s, kept)
	if err := jobs.Prism(t.Context(), p, "filter"); err != nil {
		t.Fatal(err)
	}
	out := map[int]string{}
	for _, g := range left() {
		recs, err := datasets.ReadRecords(g.Path, g.Source, g.Group)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			out[int(r.Index)] = r.Text
		}
	}
	return out
}

// TestRecords: of a user's own records those are kept that the steps of a run keep, which number records in the same order, by clusters the
// same and by whole texts and paragraphs as many of each; in any order, cut into groups and tasks in any way; and the others are named.
func TestRecords(t *testing.T) {
	all := similar()
	at := map[string]int{}
	for i := range all {
		at[datasets.DocID(all[i].Source, all[i].Index)] = i
	}
	for _, said := range []map[string]any{{"rule": "minhash", "n_grams": 3}, {"rule": "exact"}, {"rule": "paragraphs", "min_chars": 5}} {
		want := groupForm(t, said, all)
		if len(want) < 50 || len(want) > 235 && said["rule"] != "paragraphs" {
			t.Fatalf("%v: %d of %d kept", said, len(want), len(all))
		}
		for k, set := range []Settings{
			{},
			{PartBytes: 40000, GroupBytes: 9000, Limits: core.Limits{Fan: 4, RangeRecords: 30, PartLinks: 20, FileRemovals: 9}},
		} {
			shuffled := slices.Clone(all)
			rand.New(rand.NewPCG(2, uint64(k))).Shuffle(len(all), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			set.Dir, set.Steps, set.Language = t.TempDir(), rules.Steps{said}, "en"
			p, s := beam.NewPipelineWithRoot()
			kept, dropped := Records(s, set, beam.CreateList(s, append(shuffled, all[3]))) // one comes twice
			gotKept, gotDropped := collect[ingest.Record](s, kept), collect[datasets.Reject](s, dropped)
			if err := jobs.Prism(t.Context(), p, "records"); err != nil {
				t.Fatal(err)
			}
			got := map[int]string{}
			for _, r := range gotKept() {
				i := at[datasets.DocID(r.Source, r.Index)]
				if _, twice := got[i]; twice {
					t.Errorf("%v: %d is kept twice", said, i)
				}
				got[i] = r.Text
			}
			same := maps.Equal(got, want)
			if said["rule"] != "minhash" { // which one of equal texts is kept depends on their numbers
				same = slices.Equal(slices.Sorted(parts(got)), slices.Sorted(parts(want)))
			}
			if !same {
				t.Errorf("%v, %d: %d kept, want %d, or they differ", said, k, len(got), len(want))
			}
			rules := map[string]int{}
			for _, r := range gotDropped() {
				rules[r.Rule]++
				if r.Reason == "" || r.Source == "" {
					t.Errorf("%+v", r)
				}
			}
			if rules["id"] != 1 || len(got)+rules[said["rule"].(string)] != len(all) {
				t.Errorf("%v: %d kept, %v dropped of %d and one twice", said, len(got), rules, len(all))
			}
		}
	}
}

// parts are the paragraphs of texts.
func parts(of map[int]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, text := range of {
			for _, p := range strings.Split(text, "\n\n") {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// TestRecordsInTurn: steps one after another drop what the one before has left, and no records are none.
func TestRecordsInTurn(t *testing.T) {
	all := similar()
	for _, n := range []int{len(all), 0} {
		p, s := beam.NewPipelineWithRoot()
		kept, dropped := Records(s, Settings{Dir: t.TempDir(), Language: "en", Steps: rules.Steps{{"rule": "exact"},
			{"rule": "minhash", "n_grams": 3}}}, beam.CreateList(s, all[:n]))
		gotKept, gotDropped := collect[ingest.Record](s, kept), collect[datasets.Reject](s, dropped)
		if err := jobs.Prism(t.Context(), p, "records"); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{"kept": len(gotKept())}
		for _, r := range gotDropped() {
			counts[r.Rule]++
		}
		if counts["kept"]+counts["exact"]+counts["minhash"] != n || n > 0 && (counts["exact"] < 10 || counts["minhash"] < 10) {
			t.Errorf("%d: %v", n, counts)
		}
	}
}

// TestWrongRecords: wrong settings are an error before a job begins.
func TestWrongRecords(t *testing.T) {
	_, s := beam.NewPipelineWithRoot()
	records := beam.CreateList(s, []ingest.Record{{Text: "a"}})
	for want, c := range map[string]struct {
		set     Settings
		records beam.PCollection
	}{
		"a folder and at least": {Settings{Dir: "x"}, records},
		"is unknown":            {Settings{Dir: "x", Steps: rules.Steps{{"rule": "fuzzy"}}}, records},
		"index_folder":          {Settings{Dir: "x", Steps: rules.Steps{{"rule": "exact", "index_folder": "y"}}}, records},
		"windows of their own": {Settings{Dir: "x", Steps: rules.Steps{{"rule": "exact"}}},
			beam.WindowInto(s, window.NewFixedWindows(1000), records)},
	} {
		func() {
			defer func() {
				if err, _ := recover().(error); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}()
			Records(s, c.set, c.records)
		}()
	}
}
