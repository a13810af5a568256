package run

import (
	"context"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/train"
	exports "github.com/adaptflow/adaptflow/transforms/export"
)

// All runs every step of the recipe and returns the summary. A finished run only reads it.
func (r *Run) All(ctx context.Context) (*report.Metrics, error) {
	ctx, end := r.UnderLease(ctx)
	defer end()
	if m, err := r.finished(ctx); m != nil || err != nil {
		return m, err
	}
	d, err := r.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.checkExports(); err != nil {
		return nil, err
	}
	r.Tell("scoring the base model")
	before, err := Record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, train.Point{}) })
	if err != nil {
		return nil, err
	}
	st, err := r.Train(ctx, d)
	if err != nil {
		return nil, err
	}
	if _, err := r.guard(ctx, d, st, before); err != nil {
		return nil, afterTraining(err)
	}
	after, err := r.finish(ctx, d, st, before)
	if err != nil {
		return nil, err
	}
	m, err := r.summarise(d, st, before, after)
	if err != nil {
		return nil, err
	}
	return m, r.Publish()
}

// finish scores the adapted model and writes the adapter, in one pipeline; the latter alone where an interrupted run has the scores.
func (r *Run) finish(ctx context.Context, d *Data, st *train.State, before *measure.Results) (*measure.Results, error) {
	job, err := r.exporting(ctx, st, before)
	if err != nil {
		return nil, err
	}
	r.Tell("scoring the adapted model")
	scored := false
	after, err := Record(r, "after", func() (*measure.Results, error) {
		scored = true
		return r.evaluate(ctx, d, job.At, func(s beam.Scope, results beam.PCollection) (beam.PCollection, error) {
			return exports.Write(s, job, results)
		})
	})
	switch {
	case err != nil:
		return nil, afterTraining(err)
	case scored:
		return after, r.name(ctx, &job)
	}
	return after, r.exportWith(ctx, job, after)
}
