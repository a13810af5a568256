package pipelines

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/adaptflow/adaptflow/pipelines/runners"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// DryRun writes the jobs of a run whose runner is a dry run of Dataflow: the first that reads the input, and one of training. What
// the input gives is not known before it is read, so that the training job's only shard is a name.
func (r *Run) DryRun(ctx context.Context) error {
	if _, err := r.Prepare(ctx); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return err
	}
	job.Train = []core.ShardRef{{Path: "shards/train-00000-of-00001.parquet"}}
	raw, err := json.Marshal(&job)
	if err != nil {
		return err
	}
	total := max(job.Args.MaxSteps, 1)
	if err := segment(ctx, job, string(raw), r.Runner, 0, job.Boundary(0, total), total); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	return nil
}
