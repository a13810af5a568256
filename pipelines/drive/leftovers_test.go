package drive

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

// emptyTemp makes the folder for temporary files an empty one.
func emptyTemp(t *testing.T) string {
	t.Helper()
	t.TempDir() // in the folder as it was, like all that follow
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	return dir
}

// leftovers are the files of the folders that have names of temporary ones, and all files of the folder for temporary ones.
func leftovers(t *testing.T, temp string, dirs ...string) (out []string) {
	t.Helper()
	for _, dir := range append(dirs, temp) {
		if dir != temp && !exists(dir) { // the run wrote nothing
			continue
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if path != dir && (dir == temp || strings.Contains(d.Name(), ".tmp-")) {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// A run leaves no temporary file, however it ends.
func TestNothingIsLeftBehind(t *testing.T) {
	for _, mode := range []string{"sync", "local"} {
		job := drivetest.Rounds(t, mode)
		temp := emptyTemp(t)
		trainJob(t, job)
		if l := leftovers(t, temp, job.Dir); len(l) > 0 {
			t.Errorf("%s, success: %q", mode, l)
		}

		// All replicas are late, which the pipeline finds.
		failing := drivetest.Elsewhere(t, job)
		failing.Args.DropLateAfter, failing.Args.MinReplicas = 1e-9, 2
		_, err := Train(context.Background(), failing, runners.Runner{}, nil)
		train.CloseSessions()
		if err == nil || !strings.Contains(err.Error(), "0 of 3 replicas") {
			t.Errorf("%s, failure: %v", mode, err)
		}
		if l := leftovers(t, temp, failing.Dir); len(l) > 0 {
			t.Errorf("%s, failure: %q", mode, l)
		}

		stopped := drivetest.Elsewhere(t, job)
		stopped.Args.MaxSteps = 1000
		ctx, cancel := context.WithCancel(context.Background())
		go func() { // as soon as a checkpoint is there
			for steps := []int(nil); len(steps) == 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
				steps, _ = train.Checkpoints(stopped.Dir)
			}
			cancel()
		}()
		_, err = Train(ctx, stopped, runners.Runner{}, nil)
		train.CloseSessions()
		if err != context.Canceled {
			t.Errorf("%s, interrupted: %v", mode, err)
		}
		cancel()
		if l := leftovers(t, temp, stopped.Dir); len(l) > 0 {
			t.Errorf("%s, interruption: %q", mode, l)
		}
	}
}
