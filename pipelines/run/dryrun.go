package run

import (
	"context"
	"errors"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
	exports "github.com/adaptflow/adaptflow/transforms/export"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// DryRun writes the job of training of a run whose runner is a dry run of Dataflow, and the one that scores and exports the adapter. What
// the input gives is not known before it is read, so that their only shards are names.
func (r *Run) DryRun(ctx context.Context) error {
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return err
	}
	job.Train = []train.ShardRef{{Path: "shards/train-00000-of-00001.parquet"}}
	if job, err = r.ForWorkers(ctx, job); err != nil {
		return err
	}
	before, err := r.sampling(ctx, job)
	if err != nil {
		return err
	}
	if err := drive.First(ctx, job, r.Runner, before...); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	if err := r.dryFinish(ctx, &train.State{Step: max(job.Args.MaxSteps, 1), TokensSeen: 1}); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	return nil
}

// dryFinish writes the job that ends a run.
func (r *Run) dryFinish(ctx context.Context, st *train.State) error {
	if r.model == nil { // a classifier, whose data is not read
		if err := r.hold(); err != nil {
			return err
		}
	}
	export, err := r.exporting(ctx, st, &measure.Results{})
	if err != nil {
		return err
	}
	job, err := r.scoring(ctx, &Data{Domain: []prepare.ShardRef{{Path: "eval/domain/domain-00000-of-00001.parquet"}}}, export.At)
	if err != nil {
		return err
	}
	job.Output = r.WorkPath(workScores, "scores.json")
	job.Run = job.Output
	then := func(s beam.Scope, results beam.PCollection) (beam.PCollection, error) {
		return exports.Write(s, export, results)
	}
	return r.score(ctx, job, []measure.Part{{Set: measure.SetDomain}}, then)
}
