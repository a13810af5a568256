package run

import (
	"context"

	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/train"
)

// Scores scores the base model, and the trained adapter where there is one (after is nil otherwise).
func (r *Run) Scores(ctx context.Context, d *Data) (before, after *measure.Results, err error) {
	before, err = Record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, train.Point{}) })
	if err != nil {
		return nil, nil, err
	}
	if step, err := drive.Latest(r.progress()); step == 0 || err != nil {
		return before, nil, err
	}
	st, err := r.State()
	if err != nil {
		return nil, nil, err
	}
	after, err = r.Evaluate(ctx, d, r.PointOf(st))
	return before, after, err
}
