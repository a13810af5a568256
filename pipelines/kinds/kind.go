// Package kinds has the kinds of runs: a recipe is of one of them. A kind is a file and a row of the table.
package kinds

import (
	"context"
	"time"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
)

// Kind is a kind of run: what `adaptflow run`, `export` and the other commands do with a recipe of it.
type Kind struct {
	// Name is what people call it.
	Name string
	// When says whether a recipe is of the kind.
	When func(*recipe.Recipe) bool
	// Run runs every step, or goes on where an earlier run ended. A finished run is only read.
	Run func(ctx context.Context, r *run.Run, o Options) (Outcome, error)
	// Export writes what has been trained so far as the adapter's folder of the output, or says where the kind has its adapters.
	Export func(ctx context.Context, r *run.Run) error

	// Summary is the file that makes a run of the kind finished, and is published last; "" for a kind that never is.
	Summary string
	// Prepare prepares the data; nil for [run.Run.Prepare].
	Prepare func(ctx context.Context, r *run.Run) (*run.Data, error)
	// DryRun writes the job that trains, of a run whose runner is a dry run of Dataflow; nil for [run.Run.DryRun].
	DryRun func(ctx context.Context, r *run.Run) error
	// Afar: its workers need share nothing but the work location.
	Afar bool
	// Watches: it takes Options.Watch.
	Watches bool
	// Forgets leaves documents out of a run; nil for a kind whose one adapter saw all of them.
	Forgets *Forgetting
	// Asks is the command that asks what a run with a local output folder gave; nil for a kind that gives nothing to be asked.
	Asks func(r *recipe.Recipe, output string) []string
	// Shown is what inspect shows of an output folder of the kind.
	Shown Shown
}

// Options of a run that are not its recipe's.
type Options struct{ Watch Watch }

// Watch says how long continual learning waits for files.
type Watch struct {
	// Every is the time between two looks for new files; 0 takes what there is and ends.
	Every time.Duration
	// UntilIdle ends when no new file has come for so long; 0 goes on until the context ends.
	UntilIdle time.Duration
}

// Outcome is what a run gave.
type Outcome struct {
	Summary report.Summary
	// Bad wraps prepare.ErrTooManyBad where more records were rejected than the recipe allows. The run is finished nevertheless.
	Bad error
}

// Forgetting is how documents are left out of a run.
type Forgetting struct {
	// Affected are the adapters of a run that were trained on one of the documents, by name, and the documents that none was trained on.
	Affected func(output string, docs []string) (names, unknown []string, err error)
	// Forget leaves the documents out from now on and trains again what was trained on them, and nothing else.
	Forget func(ctx context.Context, r *run.Run, docs []string) (Outcome, error)
}

// Shown is what inspect shows of an output folder that has the file By; the zero value for nothing.
type Shown struct {
	By    string
	Facts func(dir string) ([]report.Fact, error)
}
