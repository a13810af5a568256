package kinds

import (
	"context"
	"errors"

	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
)

// table has the kinds in the order in which they are asked: a recipe is of the first whose When says so.
var table = []Kind{
	compareKind,
	keysKind,
	continualKind,
	rolloutsKind,
	classificationKind,
	rewardKind,
	singleKind,
}

// Kinds are all kinds.
func Kinds() []Kind { return table }

// Of is the kind of a recipe.
func Of(r *recipe.Recipe) Kind {
	for _, k := range table {
		if k.When(r) {
			return k
		}
	}
	panic("kinds: a recipe of no kind, and the last takes all")
}

// Open opens a run, which knows from then on what makes it finished. It is to be closed also where this fails.
func Open(r *run.Run) error {
	k := Of(r.Recipe)
	r.Summary, r.Afar = k.Summary, k.Afar
	return r.Open()
}

// Prepare prepares the data of an open run as its kind does.
func Prepare(ctx context.Context, r *run.Run) (*run.Data, error) {
	if p := Of(r.Recipe).Prepare; p != nil {
		return p(ctx, r)
	}
	return r.Prepare(ctx)
}

// DryRun writes the jobs of a run whose runner is a dry run of Dataflow: the first that reads the input, and one of training.
func DryRun(ctx context.Context, r *run.Run) error {
	if _, err := Prepare(ctx, r); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	dry := Of(r.Recipe).DryRun
	if dry == nil {
		return r.DryRun(ctx)
	}
	if err := dry(ctx, r); !errors.Is(err, runners.ErrDryRun) {
		return err
	}
	return nil
}
