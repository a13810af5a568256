package dedupe

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() { beam.RegisterDoFn(&FilterFn{}) }

// Filter drops what is repeated and returns references to what is kept (PCollection<ingest.Group>), and the totals of all groups
// (PCollection<string>, see stage.Total).
func Filter(s beam.Scope, fn *FilterFn, groups beam.PCollection) (kept, totals beam.PCollection) {
	return beam.ParDo2(s.Scope("dedupe.Filter"), fn, groups)
}

// FilterFn drops the records of a row group that repeat others, or the parts of them that do.
type FilterFn struct {
	Settings   string
	Language   string
	Removals   string // the list of files of removals: see core.RemovalsPath
	Sources    string // a JSON file with the sources by rank
	Stage      string // name of the stage
	OutDir     string
	RejectsDir string

	step     core.Step
	splitter rules.Splitter
	sources  []string
	removals []core.RemovalFile
	work     bundle.Workers[*stage.Summary]
}

// Setup builds the step and reads the sources' names and the list of removals.
func (f *FilterFn) Setup() (err error) {
	if f.step, err = core.DecodeJSON(f.Settings); err != nil {
		return err
	}
	if f.splitter, err = words.For(f.Language); err != nil {
		return err
	}
	if f.removals, err = core.ReadRemovalList(f.Removals); err != nil {
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
	file := rank(g)
	removals, err := core.ReadRemovals(f.removals, core.ID{File: file, Doc: uint32(g.First)}, core.ID{File: file, Doc: uint32(g.Last)})
	if err != nil {
		return nil, err
	}
	s, err := stage.Apply(ctx, g, f.OutDir, f.RejectsDir, f.Stage, func(r *datasets.Record) (string, stage.Verdict) {
		m := removals[core.ID{File: file, Doc: uint32(r.Index)}]
		if m == nil {
			return f.step.Name(), stage.Verdict{Verdict: rules.Verdict{Keep: true, Text: r.Text}}
		}
		return f.step.Name(), verdict(f.step, r.Text, r.Row, m, f.splitter, f.name)
	})
	if err != nil {
		return nil, fmt.Errorf("deduplicating %s: %w", g.Source, err)
	}
	return s, nil
}

// verdict is what becomes of a record that repeats another, whose name is said of one that goes.
func verdict(step core.Step, text, row string, m *core.Removal, s rules.Splitter, name func(core.ID) string) stage.Verdict {
	v := step.Remove(text, m.Parts, s)
	if !v.Keep && v.Value == "" {
		v.Value, v.Threshold = name(m.Kept), "the first of its kind"
	}
	if v.Keep && row != "" { // parts of a row's texts belong to its fields: such a row stays whole
		v.Text, v.Counters = text, []rules.Counter{{Name: "rows_left_whole", N: 1}}
	}
	for i := range v.Counters {
		v.Counters[i].Name = step.Name() + "." + v.Counters[i].Name
	}
	return stage.Verdict{Verdict: v}
}

// name is the document's id, or says that it is of the index.
func (f *FilterFn) name(id core.ID) string {
	if id == core.FromIndex {
		return "index"
	}
	return datasets.DocID(f.sources[id.File-1], int64(id.Doc))
}
