package run

import (
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/progress"
)

// TestDuring: a stage is reported while it lasts and when it ends, with what was done in it alone, and not afterwards.
func TestDuring(t *testing.T) {
	progress.Add(progress.Read, 100)
	var told []Stage
	r := &Run{Stage: func(s Stage) { told = append(told, s) }}
	end := r.during("preparing")
	progress.Add(progress.Read, 7)
	time.Sleep(2*stageEvery + stageEvery/2)
	end()
	n := len(told)
	time.Sleep(2 * stageEvery)
	if n < 2 || len(told) != n {
		t.Fatalf("told %d times, and %d afterwards", n, len(told)-n)
	}
	for i, s := range told {
		if s.Name != "preparing" || s.Counts[progress.Read] != 7 || s.Ended != (i == n-1) {
			t.Errorf("%d of %d: %+v", i, n, s)
		}
	}
	(&Run{}).during("nobody")()
}
