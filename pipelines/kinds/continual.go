package kinds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/train/continual"
)

// continualKind learns from files as they come.
var continualKind = Kind{
	Name:    "continual learning",
	When:    func(r *recipe.Recipe) bool { return r.Continual.IncrementFiles > 0 },
	Afar:    true,
	Watches: true,
	Prepare: func(ctx context.Context, r *run.Run) (*run.Data, error) {
		if r.Runner.Dry() { // the first job, which an increment's is like
			_, err := r.PrepareSet(ctx, "general", r.Recipe.Data.GeneralInput, nil, 0)
			return nil, err
		}
		return nil, errors.New("continual learning takes its files increment by increment, each prepared, trained on and scored in turn: " +
			"adaptflow run does it")
	},
	Run: func(ctx context.Context, r *run.Run, o Options) (Outcome, error) {
		l, err := learnAll(ctx, r, o.Watch)
		if err != nil {
			return Outcome{}, cmp.Or(r.Held(), err)
		}
		return Outcome{Summary: l, Bad: l.Bad()}, nil
	},
	Export: exportVersion,
	Asks:   servesOne, // which follows the run
	Shown:  Shown{By: HistoryFile, Facts: inspectHistory},
}

// learnAll takes the files of the recipe's input increment by increment, those that the history has not, and returns the history. It goes
// on where an earlier run ended, however that ended: an increment is taken by a copy of its files, worked on in a folder of its own, and
// counts once the history has it.
func learnAll(ctx context.Context, r *run.Run, w Watch) (*Learned, error) {
	ctx, end := r.UnderLease(ctx)
	defer end()
	mem.Heap(ctx, 50, 0) // weights and activations lie outside the heap
	l := &learner{Run: r, limits: r.Recipe.Continual.Limits}
	var err error
	if l.stream, err = newStream(r.Recipe.Data.Input); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	for last := time.Now(); ; {
		n, err := l.take(ctx)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			last = time.Now()
			continue
		}
		if w.Every <= 0 || w.UntilIdle > 0 && time.Since(last) >= w.UntilIdle {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(w.Every):
		}
	}
	return l.report(ctx)
}

// open reads the history, scores the base model where there is none, and removes what a killed run left behind.
func (l *learner) open(ctx context.Context) error {
	if err := l.readHistory(ctx); err != nil {
		return err
	}
	d := l.Recipe.Data
	general, err := l.PrepareSet(ctx, "general", d.GeneralInput, nil, 0)
	if err != nil {
		return err
	}
	l.general = general.Train
	if len(d.EvalInput) > 0 {
		domain, err := l.PrepareSet(ctx, "domain", d.EvalInput, nil, 0)
		if err != nil {
			return err
		}
		l.domain = domain.Train
	}
	base, err := run.Record(l.Run, "before", func() (*measure.Results, error) {
		l.Tell("scoring the base model")
		s, err := l.Sub(measuring(l.Recipe))
		if err != nil {
			return nil, err
		}
		return s.Evaluate(ctx, &run.Data{Domain: l.domain, General: l.general}, train.Point{})
	})
	if err != nil {
		return err
	}
	h := l.history
	h.Version, h.Base = version.Version, continual.Scores{Domain: score(base.Domain), General: score(base.General)}
	if h.Base.General == nil {
		return fmt.Errorf("general_input %s: no token in it has a loss, so max_forgetting could not be held: give other text",
			strings.Join(d.GeneralInput, ", "))
	}
	h.GeneralLimit = l.limits.GeneralLimit(h.Base.General)
	if err := l.check(ctx); err != nil {
		return err
	}
	return l.settle(ctx)
}

// exportVersion copies the version in use of continual learning to the adapter's folder, and merges it where the recipe asks for that.
func exportVersion(_ context.Context, r *run.Run) error {
	from, err := currentVersion(r)
	if err != nil {
		return err
	}
	if from == "" {
		return fmt.Errorf("%s has no version yet: run it first (adaptflow run, with the same settings and --output), or see in %s why "+
			"all increments were rolled back", r.Product(), HistoryFile)
	}
	return r.ExportFolder(from)
}

// currentVersion is the folder of the version that continual learning has in use; "" where that is the base model.
func currentVersion(r *run.Run) (string, error) {
	l, ctx := &learner{Run: r}, context.Background()
	if err := l.readHistory(ctx); err != nil {
		return "", err
	}
	c := l.history.Current()
	if c == nil {
		return "", nil
	}
	return l.path(c.Adapter), l.check(ctx)
}
