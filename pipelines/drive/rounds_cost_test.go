package drive

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
)

// A round waits for the disk at most twice: for the file of its state and for the folder of it.
func TestARoundSyncsTwice(t *testing.T) {
	for _, c := range []struct {
		mode, compression string
		shards            int
		late              float64
	}{
		{mode: "sync"}, {mode: "local"}, {mode: "sync", compression: "int8"}, {mode: "local", compression: "topk"},
		{mode: "sync", shards: 2}, {mode: "sync", compression: "topk", shards: 3, late: 1000},
		{mode: "local", compression: "int8", late: 1000},
	} {
		syncs := func(rounds int) int64 {
			job := drivetest.Rounds(t, c.mode)
			a := &job.Args
			a.Compression, a.DropLateAfter, a.MinReplicas, a.OptimizerShards = c.compression, c.late, 1, c.shards
			a.MaxSteps, a.SaveSteps, a.LocalSteps = rounds, rounds, 1
			was := storage.Syncs()
			trainJob(t, job)
			return storage.Syncs() - was
		}
		// The checkpoint at the end of both is the same; what is synced at all is seen.
		if few, many := syncs(2), syncs(8); many-few > 2*6 || many-few < 6 {
			t.Errorf("%+v: %d waits for the disk in 6 rounds", c, many-few)
		}
	}
}
