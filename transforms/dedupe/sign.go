package dedupe

import (
	"context"
	"fmt"
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/ingest"
)

func init() { beam.RegisterDoFn(&SignFn{}) }

// Sign signs the records that groups (PCollection<ingest.Group>) refers to and passes the references on.
func Sign(s beam.Scope, fn *SignFn, groups beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("dedupe.Sign"), fn, groups)
}

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
