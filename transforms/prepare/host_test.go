package prepare

import (
	"context"
	"log"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// TestAHostKeepsItsSettings: what logs, and how garbage is collected, is the host's: a run in its process changes neither, while it works
// and after it.
func TestAHostKeepsItsSettings(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	logger, flags, writer := slog.Default(), log.Flags(), log.Writer()
	defer debug.SetGCPercent(debug.SetGCPercent(123))
	limit := debug.SetMemoryLimit(-1)
	same := func(when string) {
		t.Helper()
		if got := percent(); got != 123 {
			t.Errorf("%s, GC percent is %d", when, got)
		}
		if got := debug.SetMemoryLimit(-1); got != limit {
			t.Errorf("%s, the memory limit is %d", when, got)
		}
		if slog.Default() != logger || log.Flags() != flags || log.Writer() != writer {
			t.Errorf("%s, another logger is set", when)
		}
	}
	work := t.TempDir()
	in := filepath.Join(work, "in")
	corpus(t, in)
	cfg := config(t, byteTokenizer(t), in)
	seen := 0
	run := func(ctx context.Context, p *beam.Pipeline, name string) error {
		seen++
		same("in the job " + name)
		return jobs.Prism(ctx, p, name)
	}
	if _, err := Execute(t.Context(), cfg, run); err != nil {
		t.Fatal(err)
	}
	same("after it")
	if seen == 0 {
		t.Error("nothing was run")
	}
	if _, err := Execute(mem.Own(t.Context()), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
		if got := percent(); got != 300 {
			t.Errorf("in a process of its own, GC percent is %d", got)
		}
		return jobs.Prism(ctx, p, name)
	}); err != nil {
		t.Fatal(err)
	}
	same("after a run that owns the process")
}
