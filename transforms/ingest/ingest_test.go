package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// TestSummaryOfAnotherSource: two sources of one name are told apart by what the summary says, not taken for each other.
func TestSummaryOfAnotherSource(t *testing.T) {
	dir := t.TempDir()
	raw, err := json.Marshal(&Summary{Source: "b.txt", Kept: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteFile(SummaryPath(dir, "a.txt"), raw); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSummary(dir, "a.txt"); err == nil || !strings.Contains(err.Error(), "b.txt") {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestListOfBlocks: row groups are numbered through the file, and lie in the files of their blocks.
func TestListOfBlocks(t *testing.T) {
	sum := Summary{Groups: [][2]int64{{0, 4}, {5, 6}, {9, 12}}, Blocks: [][2]int64{{0, 2}, {3, 1}}}
	var got []string
	for _, g := range sum.List("dir", File{Source: "x", Ordinal: 1, Rank: 2, Part: 3}) {
		path, name := strings.TrimPrefix(g.Path, "dir/"+Name("x")), strings.TrimPrefix(g.Name, Name("x"))
		got = append(got, fmt.Sprint(path, g.Group, name, g.Order-1<<32, g.Rank, g.Part, g.First, g.Last))
	}
	want := []string{"-b000000.parquet0-000000 2 3 0 4", "-b000000.parquet1-000011 2 3 5 6", "-b000003.parquet0-000022 2 3 9 12"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
