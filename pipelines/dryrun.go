package pipelines

import (
	"context"
	"errors"

	"github.com/adaptflow/adaptflow/pipelines/drive"
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
	if err := drive.First(ctx, job, r.Runner); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	return nil
}
