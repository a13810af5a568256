package kinds

import (
	"context"

	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
)

// rolloutsKind trains one adapter on answers of the model's own, in rounds: workers sample the answers to a round's prompts and score them,
// and the adapter learns from what they wrote. Jobs of training begin with the round's sampling ([run.Run.Train]).
var rolloutsKind = Kind{
	Name:    "rollouts",
	When:    func(r *recipe.Recipe) bool { return r.Train.Samples() },
	Summary: run.MetricsFile,
	Afar:    true,
	Run:     runSingle,
	Export:  func(ctx context.Context, r *run.Run) error { return r.ExportTrained(ctx) },
	Asks:    asksOne,
	Shown:   Shown{By: run.MetricsFile, Facts: inspectMetrics},
}
