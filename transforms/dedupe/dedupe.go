// Package dedupe has the transforms of deduplication. Signing writes sorted runs of keys beside the records; tasks merge ranges of the runs
// and find clusters by label propagation; filtering drops what is repeated. What travels are names of files and numbers of tasks: see the
// plan in datasets/dedupe.
package dedupe

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&SignFn{})
	beam.RegisterDoFn(&FilterFn{})
	beam.RegisterDoFn(&TaskFn{})
	beam.RegisterType(reflect.TypeFor[core.Plan]())
	beam.RegisterType(reflect.TypeFor[core.Range]())
}

// rank is how a source is numbered in IDs; 0 is the index's.
func rank(g ingest.Group) uint32 { return uint32(g.Rank) + 1 }

// SignFn writes the keys of the records of a row group as a run, and passes the group on.
type SignFn struct {
	Settings string // of the step, JSON
	Language string
	OutDir   string

	step     core.Step
	splitter rules.Splitter
	work     bundle.Workers[ingest.Group]
}

// Setup builds the step.
func (f *SignFn) Setup() (err error) {
	if f.step, err = core.DecodeJSON(f.Settings); err != nil {
		return err
	}
	f.splitter, err = words.For(f.Language)
	return err
}

// RunPath is the run of a group in the folder dir.
func RunPath(dir, name string) string { return storage.Join(dir, name+".run") }

// StartBundle begins with no group.
func (f *SignFn) StartBundle(context.Context, func(ingest.Group)) { f.work.Start() }

// ProcessElement begins to sign one group.
func (f *SignFn) ProcessElement(ctx context.Context, g ingest.Group, _ func(ingest.Group)) error {
	return f.work.Go(ctx, func() (ingest.Group, error) { return g, f.sign(ctx, g) })
}

// FinishBundle passes the groups on.
func (f *SignFn) FinishBundle(_ context.Context, emit func(ingest.Group)) error {
	return f.work.Emit(emit)
}

func (f *SignFn) sign(ctx context.Context, g ingest.Group) error {
	recs, err := datasets.ReadRecords(g.Path, g.Source, g.Group)
	if err != nil {
		return err
	}
	n, _, _ := f.step.Layout()
	sections := make([][]byte, n)
	for i := range recs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if recs[i].Index > math.MaxUint32 {
			return fmt.Errorf("%s: record %d: deduplication numbers at most %d records a file; split it", g.Source, recs[i].Index,
				int64(math.MaxUint32)+1)
		}
		f.step.Sign(sections, core.ID{File: rank(g), Doc: uint32(recs[i].Index)}, recs[i].Text, f.splitter)
	}
	return core.WriteRun(RunPath(f.OutDir, g.Name), core.Width(f.step), sections)
}

// The phases of [TaskFn].
const (
	PhaseMerge = "merge"
	PhaseLarge = "large"
	PhaseSmall = "small"
	PhaseJoin  = "join"
	PhaseRoots = "roots"
)

// TaskFn does one task of a phase. A task writes files whose names follow from its number; tasks may be repeated.
type TaskFn struct {
	Plan   core.Plan
	Ranges []core.Range
	Phase  string
	Round  int

	step core.Step
	work bundle.Workers[string]
}

// Setup builds the step.
func (f *TaskFn) Setup() (err error) {
	f.step, err = core.DecodeJSON(f.Plan.Settings)
	return err
}

// Result is what a task of merging or of finding roots leaves.
type Result struct {
	Removals    string           `json:"removals,omitempty"`
	Fingerprint core.Fingerprint `json:"fingerprint"`
}

// ResultPath is the result of a task.
func ResultPath(dir, phase string, round, task int) string {
	return storage.Join(dir, fmt.Sprintf("%s-%04d-%05d.json", phase, round, task))
}

// StartBundle begins with no task.
func (f *TaskFn) StartBundle(context.Context, func(string)) { f.work.Start() }

// ProcessElement begins one task.
func (f *TaskFn) ProcessElement(ctx context.Context, n int, _ func(string)) error {
	return f.work.Go(ctx, func() (string, error) { return f.task(n) })
}

// FinishBundle emits the paths of the tasks' results.
func (f *TaskFn) FinishBundle(_ context.Context, emit func(string)) error {
	return f.work.Emit(emit)
}

func (f *TaskFn) task(n int) (string, error) {
	var r Result
	var err error
	switch f.Phase {
	case PhaseMerge:
		r.Removals, err = f.Plan.Merge(f.step, f.Ranges[n])
	case PhaseLarge:
		r.Fingerprint, err = f.Plan.Large(f.Round, f.Ranges, n)
	case PhaseSmall:
		err = f.Plan.Small(f.Round, n)
	case PhaseJoin:
		err = f.Plan.Join(f.Round, f.Ranges, n)
	case PhaseRoots:
		r.Removals, err = f.Plan.Roots(n)
	default:
		panic("dedupe: no phase " + f.Phase)
	}
	if err != nil {
		return "", fmt.Errorf("deduplication, %s %d: %w", f.Phase, n, err)
	}
	b, err := json.Marshal(&r)
	if err != nil {
		return "", err
	}
	path := ResultPath(f.Plan.Dir, f.Phase, f.Round, n)
	return path, storage.WriteFile(path, b)
}

// Tasks runs the tasks of phases one after another; tasks are their numbers of tasks.
func Tasks(s beam.Scope, fns []*TaskFn, tasks []int) {
	s = s.Scope("dedupe.Tasks")
	todo := stage.Numbers(s, tasks[0])
	for i, fn := range fns {
		done := beam.ParDo(s, fn, todo)
		if i+1 < len(fns) {
			todo = stage.After(s, done, tasks[i+1])
		} else {
			end.Of(s, done)
		}
	}
}

// FilterFn drops the records of a row group that repeat others, or the parts of them that do.
type FilterFn struct {
	Settings   string
	Language   string
	Removals   []string // the files of removals
	Sources    string   // a JSON file with the sources by rank
	Stage      string   // name of the stage
	OutDir     string
	RejectsDir string

	step     core.Step
	splitter rules.Splitter
	sources  []string
	work     bundle.Workers[*stage.Summary]
}

// Setup builds the step and reads the sources' names.
func (f *FilterFn) Setup() (err error) {
	if f.step, err = core.DecodeJSON(f.Settings); err != nil {
		return err
	}
	if f.splitter, err = words.For(f.Language); err != nil {
		return err
	}
	b, err := storage.ReadFile(f.Sources)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &f.sources)
}

// StartBundle begins with no group.
func (f *FilterFn) StartBundle(context.Context, func(ingest.Group), func(string)) { f.work.Start() }

// ProcessElement begins to filter one group.
func (f *FilterFn) ProcessElement(ctx context.Context, g ingest.Group, _ func(ingest.Group), _ func(string)) error {
	return f.work.Go(ctx, func() (*stage.Summary, error) { return f.filter(ctx, g) })
}

// FinishBundle emits what is kept of the groups, and their stage.Totals.
func (f *FilterFn) FinishBundle(ctx context.Context, emit func(ingest.Group), total func(string)) error {
	return stage.Finish(ctx, &f.work, emit, total)
}

func (f *FilterFn) filter(ctx context.Context, g ingest.Group) (*stage.Summary, error) {
	removals, err := core.ReadRemovals(f.Removals, rank(g), uint32(g.First), uint32(g.Last))
	if err != nil {
		return nil, err
	}
	s, err := stage.Apply(ctx, g, f.OutDir, f.RejectsDir, f.Stage, func(r *datasets.Record) (string, stage.Verdict) {
		m := removals[uint32(r.Index)]
		if m == nil {
			return f.step.Name(), stage.Verdict{Verdict: rules.Verdict{Keep: true, Text: r.Text}}
		}
		v := f.step.Remove(r.Text, m.Parts, f.splitter)
		if !v.Keep && v.Value == "" {
			v.Value, v.Threshold = f.name(m.Kept), "the first of its kind"
		}
		if v.Keep && r.Row != "" { // parts of a row's texts belong to its fields: such a row stays whole
			v.Text, v.Counters = r.Text, []rules.Counter{{Name: "rows_left_whole", N: 1}}
		}
		return f.step.Name(), stage.Verdict{Verdict: v}
	})
	if err != nil {
		return nil, fmt.Errorf("deduplicating %s: %w", g.Source, err)
	}
	return s, nil
}

// name is the document's id, or says that it is of the index.
func (f *FilterFn) name(id core.ID) string {
	if id == core.FromIndex {
		return "index"
	}
	return datasets.DocID(f.sources[id.File-1], int64(id.Doc))
}

// Sign signs the records that groups (PCollection<ingest.Group>) refers to and passes the references on.
func Sign(s beam.Scope, fn *SignFn, groups beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("dedupe.Sign"), fn, groups)
}

// Filter drops what is repeated and returns references to what is kept (PCollection<ingest.Group>), and the totals of all groups
// (PCollection<string>, see stage.Total).
func Filter(s beam.Scope, fn *FilterFn, groups beam.PCollection) (kept, totals beam.PCollection) {
	return beam.ParDo2(s.Scope("dedupe.Filter"), fn, groups)
}
