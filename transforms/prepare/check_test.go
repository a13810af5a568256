package prepare

import (
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/transforms/ingest"
)

// TestSpread: few files are all looked at, of many so many and no more, from the first to the end.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		n, most int
		want    []int
	}{{0, 4, []int{}}, {3, 4, []int{0, 1, 2}}, {4, 4, []int{0, 1, 2, 3}}, {10, 4, []int{0, 2, 5, 7}}} {
		if got := spread(c.n, c.most); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d: %v, want %v", c.most, c.n, got, c.want)
		}
	}
}

// TestNames: two sources whose files would be written over one another are refused.
func TestNames(t *testing.T) {
	files := []ingest.File{{Source: "a.txt"}, {Source: "b.txt"}, {Source: "B.txt"}}
	if err := checkNames(files, ingest.Name); err != nil {
		t.Error(err)
	}
	if err := checkNames(files, strings.ToLower); err == nil || !strings.Contains(err.Error(), "b.txt and B.txt") {
		t.Errorf("%v", err)
	}
}
