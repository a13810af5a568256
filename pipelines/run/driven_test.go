package run

import (
	"context"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	core "github.com/adaptflow/adaptflow/train"
)

// driven trains a job.
func driven(t *testing.T, job core.Job) *core.State {
	t.Helper()
	defer core.CloseSessions()
	st, err := drive.Train(context.Background(), job, runners.Runner{}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	return st
}
