package run

import (
	"context"

	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/pipelines/report"
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
	none := nn.NewParams(1)
	r.Tell("scoring the base model")
	before, err := Record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, nil, none) })
	if err != nil {
		return nil, err
	}
	st, err := r.Train(ctx, d)
	if err != nil {
		return nil, err
	}
	r.Tell("scoring the adapted model")
	a, params, err := r.Trained(st)
	if err != nil {
		return nil, err
	}
	defer params.Free()
	after, err := Record(r, "after", func() (*measure.Results, error) { return r.Evaluate(ctx, d, []nn.Adapter{a}, params) })
	if err != nil {
		return nil, afterTraining(err)
	}
	if err := r.Export(a, params, st, before, after); err != nil {
		return nil, err
	}
	m, err := r.summarise(d, st, a, before, after)
	if err != nil {
		return nil, err
	}
	return m, r.Publish()
}
