package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTotals: totals are the same whatever order they are added in; the first dead letter is that of the first file which has one.
func TestTotals(t *testing.T) {
	parts := []Totals{
		{Files: 1, Groups: 2, Read: 5, Kept: 3, Rejected: map[string]int64{"a": 2}, Rejects: []string{"x"}, First: "five", FirstOf: 5},
		{Files: 1, Groups: 1, Read: 4, Kept: 4, Layouts: map[string]int64{"csv": 1}, Labels: map[string]int64{"good": 4}},
		{Files: 1, Read: 1, Rejected: map[string]int64{"a": 1}, Rejects: []string{"c"}, First: "none", FirstOf: 0},
		{Files: 1, Read: 1, Rejected: map[string]int64{"b": 1}, Rejects: []string{"b"}, First: "one", FirstOf: 1},
	}
	const want = `{"files":4,"groups":3,"read":11,"kept":7,"rejected":{"a":3,"b":1},"rejects":["b","c","x"],"layouts":{"csv":1},` +
		`"labels":{"good":4},"first":"none"}`
	for from := range parts {
		var sum Totals
		for i := range parts {
			sum.Add(&parts[(from+i)%len(parts)])
		}
		if got, _ := json.Marshal(&sum); string(got) != want {
			t.Errorf("from %d: %s\nwant %s", from, got, want)
		}
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
