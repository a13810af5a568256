package dedupe

import (
	"context"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&runFn{})
	beam.RegisterDoFn(&PlanFn{})
	beam.RegisterDoFn(&TaskFn{})
	beam.RegisterType(reflect.TypeFor[core.Plan]())
	register.Emitter1[string]()
	register.Iter1[string]()
}

// Find finds what is repeated in signed groups (PCollection<ingest.Group>, not empty) and writes core.RemovalsPath of the plan's folder. It
// returns what the last task said, one text once all is written (PCollection<string>).
func Find(s beam.Scope, plan core.Plan, step core.Step, groups beam.PCollection) beam.PCollection {
	s = s.Scope("dedupe.Find")
	return phases(s, plan, step, beam.ParDo(s, &runFn{plan.Dir}, groups))
}

// phases are those of a plan over the paths of runs (PCollection<string>).
func phases(s beam.Scope, plan core.Plan, step core.Step, done beam.PCollection) beam.PCollection {
	for i := range core.Phases(step) {
		tasks := beam.ParDo(s, &PlanFn{Plan: plan, Phase: i}, stage.Together(s, done))
		done = beam.ParDo(s, &TaskFn{Plan: plan, Phase: i}, beam.Reshuffle(s, tasks))
	}
	return done
}

// Tasks is Find in a pipeline of its own.
func Tasks(s beam.Scope, plan core.Plan, step core.Step, groups beam.PCollection) {
	end.Of(s, Find(s, plan, step, groups))
}

// runFn names the run of a group.
type runFn struct{ Dir string }

// ProcessElement emits its path.
func (f *runFn) ProcessElement(g ingest.Group) string { return RunPath(f.Dir, g.Name) }

// PlanFn plans a phase once all tasks of the one before have ended.
type PlanFn struct {
	Plan  core.Plan
	Phase int

	step  core.Step
	phase core.Phase
}

// Setup builds the step.
func (f *PlanFn) Setup() (err error) {
	if f.step, err = core.DecodeJSON(f.Plan.Settings); err == nil {
		f.phase = core.Phases(f.step)[f.Phase]
	}
	return err
}

// ProcessElement emits the tasks.
func (f *PlanFn) ProcessElement(_ int, before func(*string) bool, emit func(string)) error {
	var all []string
	for text := ""; before(&text); {
		all = append(all, text)
	}
	tasks, err := f.phase.Begin(f.Plan, f.step, all)
	for _, t := range tasks {
		emit(t)
	}
	return err
}

// TaskFn does the tasks of a phase, which write files whose names follow from their numbers, and may be repeated.
type TaskFn struct {
	Plan  core.Plan
	Phase int

	step  core.Step
	phase core.Phase
	work  bundle.Workers[string]
}

// Setup builds the step.
func (f *TaskFn) Setup() (err error) {
	if f.step, err = core.DecodeJSON(f.Plan.Settings); err == nil {
		f.phase = core.Phases(f.step)[f.Phase]
	}
	return err
}

// StartBundle begins with no task.
func (f *TaskFn) StartBundle(context.Context, func(string)) { f.work.Start() }

// ProcessElement begins one task.
func (f *TaskFn) ProcessElement(ctx context.Context, task string, _ func(string)) error {
	return f.work.Go(ctx, func() (string, error) { return f.phase.Do(f.Plan, f.step, task) })
}

// FinishBundle emits what the tasks said.
func (f *TaskFn) FinishBundle(_ context.Context, emit func(string)) error { return f.work.Emit(emit) }
