package run

import (
	"context"
	"fmt"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// answering is the run's model with adapters over it, or with none.
func (r *Run) answering(adapters []nn.Adapter, params *nn.Params) *infer.Model {
	return &infer.Model{Dir: r.modelDir, Base: r.model, Adapters: adapters, Params: params, Pool: r.pool,
		Tokenizer: r.tokenizer, Frame: r.frame,
		Framed: !r.before}
}

// Evaluate measures the base with the adapters (none: the base alone) on the evaluation sets.
func (r *Run) Evaluate(ctx context.Context, d *Data, adapters []nn.Adapter, params *nn.Params) (*measure.Results, error) {
	return measure.Run(ctx, &measure.Input{Model: r.answering(adapters, params), Config: r.Recipe.Evaluate,
		Domain: set(d.Domain, d.domain), General: set(d.General, d.general), Origins: d.Origins,
		SequenceLength: r.Recipe.Prepare.SequenceLength,
		Classes:        r.classes, Seed: r.Recipe.Train.Seed, Say: r.Say})
}

// set is an evaluation set: its shards, and why there are none where it was prepared.
func set(shards []prepare.ShardRef, from *prepare.Result) (out measure.Set) {
	for _, s := range shards {
		out.Shards = append(out.Shards, s.Path)
	}
	if len(shards) == 0 && from != nil && len(from.Train) == 0 {
		out.None = fmt.Sprintf("no token of its %d records has a loss (%s)", from.Read, prepare.Reasons(from.Rejected))
	}
	return out
}
