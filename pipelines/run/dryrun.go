package run

import (
	"context"
	"errors"

	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// DryRun writes the job of training of a run whose runner is a dry run of Dataflow. What the input gives is not known before it is read, so
// that the job's only shard is a name.
func (r *Run) DryRun(ctx context.Context) error {
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return err
	}
	job.Train = []train.ShardRef{{Path: "shards/train-00000-of-00001.parquet"}}
	if job, err = r.ForWorkers(ctx, job); err != nil {
		return err
	}
	if err := drive.First(ctx, job, r.Runner); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	return nil
}
