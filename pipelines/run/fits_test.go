package run

import (
	"path/filepath"
	"testing"
)

// TestSequencesFit: a plan says of a sequence that is too long for the model what the run says.
func TestSequencesFit(t *testing.T) {
	const want = "sequence_length is 100000 but the model has 1024 positions: choose at most that"
	rec := recipeOf(t, "sequence_length=100000")
	if _, err := MakePlan(rec); err == nil || err.Error() != want {
		t.Errorf("the plan: %v", err)
	}
	r := &Run{Recipe: rec, Output: filepath.Join(t.TempDir(), "out")}
	defer r.Close()
	if err := r.Open(); err == nil || err.Error() != want {
		t.Errorf("the run: %v", err)
	}
}
