package cli

import (
	"testing"
	"time"

	counted "github.com/adaptflow/adaptflow/internal/progress"
	"github.com/adaptflow/adaptflow/pipelines/run"
)

func TestStageText(t *testing.T) {
	s := run.Stage{Name: "preparing input", Counts: map[string]int64{counted.Tokens: 9, counted.Read: 2}, Taken: 12 * time.Second}
	if got, want := stageText(s), "preparing input: 2 records read, 9 tokens, 12 s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
