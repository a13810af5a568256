package run

import (
	"context"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

// driven trains a job.
func driven(t *testing.T, job train.Job) *train.State {
	t.Helper()
	defer train.CloseSessions()
	st, err := drive.Train(context.Background(), job, runners.Runner{}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	return st
}
