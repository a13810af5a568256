package run

import (
	"context"

	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/pipelines/drive"
)

// Scores scores the base model, and the trained adapter where there is one (after is nil otherwise).
func (r *Run) Scores(ctx context.Context, d *Data) (before, after *measure.Results, err error) {
	before, err = Record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, nil, nn.NewParams(1)) })
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
	a, params, err := r.Trained(st)
	if err != nil {
		return nil, nil, err
	}
	defer params.Free()
	after, err = r.Evaluate(ctx, d, []nn.Adapter{a}, params)
	return before, after, err
}
