package stage

import (
	"fmt"
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

type testTotal struct {
	N      int64            `json:"n"`
	Counts map[string]int64 `json:"counts,omitempty"`
}

func (t *testTotal) Add(o *testTotal) {
	t.N += o.N
	t.Counts = datasets.AddCounts(t.Counts, o.Counts)
}

func init() {
	RegisterTotal[testTotal]("test")
	beam.RegisterFunction(sameText)
}

func sameText(s string) string { return s }

// TestTotal: what totals add up to is one file, equal for any order of them; that of none is zero.
func TestTotal(t *testing.T) {
	var texts []string
	want := testTotal{Counts: map[string]int64{}}
	for i := range int64(500) {
		texts = append(texts, fmt.Sprintf(`{"n":%d,"counts":{"c%d":1}}`, i, i%3))
		want.N += i
		want.Counts[fmt.Sprint("c", i%3)]++
	}
	var files [2][]byte
	for i := range files {
		path := filepath.Join(t.TempDir(), "total.json")
		p, s := beam.NewPipelineWithRoot()
		Total(s, "test", path, beam.Reshuffle(s, beam.CreateList(s, texts)))
		if err := jobs.Prism(t.Context(), p, "total"); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTotal[testTotal](path)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		files[i], _ = os.ReadFile(path)
		slices.Reverse(texts)
	}
	if string(files[0]) != string(files[1]) {
		t.Errorf("%s in one order, %s in another", files[0], files[1])
	}
	if none, err := ReadTotal[testTotal](filepath.Join(t.TempDir(), "none.json")); err != nil || none.N != 0 {
		t.Errorf("%+v, %v", none, err)
	}
}

// TestKept: references that one job keeps are those that another has, in files of so many, whatever order they came in.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "refs.json")
	var want []string
	for i := range inFile + 3 {
		want = append(want, fmt.Sprintf(`{"ref":"%06d"}`, i))
	}
	refs := slices.Clone(want)
	slices.Reverse(refs)
	p, s := beam.NewPipelineWithRoot()
	Keep(s, path, beam.Reshuffle(s, beam.CreateList(s, refs)))
	if err := jobs.Prism(t.Context(), p, "keep"); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 3 {
		t.Errorf("files %q", files)
	}
	p, s = beam.NewPipelineWithRoot()
	all := jobstest.Collect(s, Kept(s, path, sameText))
	if err := jobs.Prism(t.Context(), p, "kept"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all() {
		got = append(got, e.Value.(string))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d references, want %d", len(got), len(want))
	}
	p, s = beam.NewPipelineWithRoot()
	jobstest.Collect(s, Kept(s, path+"x", sameText))
	if err := jobs.Prism(t.Context(), p, "none"); err == nil {
		t.Error("references that nobody kept are none")
	}
}
