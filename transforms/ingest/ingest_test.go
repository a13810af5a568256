package ingest

import (
	"encoding/json"
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
