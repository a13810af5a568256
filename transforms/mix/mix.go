// Package mix has the transform that counts staged documents for mixing, by ranges of their hash.
package mix

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&CountFn{})
	beam.RegisterType(reflect.TypeFor[Totals]())
	register.Emitter1[string]()
	stage.RegisterTotal[Totals](TotalsKind)
}

// Name is the stage's name, in the funnel and the dead letters.
const Name = "mix"

// TotalsKind names [Totals] for stage.Total.
const TotalsKind = "mix"

// CountFn reads the hashes and lengths of staged documents, not their tokens, and emits the [Totals] of a bundle in JSON. Documents held
// out for validation are not counted.
type CountFn struct {
	Split datasets.Split
	Seed  uint64
	// Bins are for each source the range of hashes whose documents are listed, -1 for none; nil counts all ranges and lists none.
	Bins []int

	totals Totals
}

// Totals are what documents are counted to be.
type Totals struct {
	Documents int64 `json:"documents"` // that were looked at
	// Sources have a count for each named source, by number.
	Sources map[int]*Count `json:"sources"`
}

// Count is what one named source has.
type Count struct {
	Histogram datasets.Histogram  `json:"histogram"`
	Entries   []datasets.MixEntry `json:"entries"` // in no order
}

// Add adds the totals of other documents.
func (t *Totals) Add(o *Totals) {
	t.Documents += o.Documents
	for part, c := range o.Sources {
		own := t.of(part)
		own.Entries = append(own.Entries, c.Entries...)
		if c.Histogram[0] != nil {
			if own.Histogram[0] == nil {
				own.Histogram = datasets.NewHistogram()
			}
			own.Histogram.Merge(c.Histogram)
		}
	}
}

// of is the count of a named source.
func (t *Totals) of(part int) *Count {
	if t.Sources == nil {
		t.Sources = map[int]*Count{}
	}
	if t.Sources[part] == nil {
		t.Sources[part] = &Count{}
	}
	return t.Sources[part]
}

// StartBundle begins with nothing.
func (f *CountFn) StartBundle(context.Context, func(string)) { f.totals = Totals{} }

// ProcessElement counts one file.
func (f *CountFn) ProcessElement(_ context.Context, in pack.Staged, _ func(string)) error {
	c := f.totals.of(in.Part)
	if f.Bins == nil && c.Histogram[0] == nil {
		c.Histogram = datasets.NewHistogram()
	}
	for g := range in.Groups {
		refs, _, err := datasets.ReadDocRefs(in.Path, g)
		if err != nil {
			return err
		}
		for _, r := range refs {
			f.totals.Documents++
			if f.Split.Validation(r.Split) {
				continue
			}
			e := datasets.MixEntry{Hash: datasets.Hash(datasets.DocID(in.Source, r.Index), f.Seed, datasets.PurposeMix), Tokens: r.Length}
			switch {
			case f.Bins == nil:
				c.Histogram.Add(e)
			case datasets.BinOf(e.Hash) == f.Bins[in.Part]:
				c.Entries = append(c.Entries, e)
			}
		}
	}
	return nil
}

// FinishBundle emits what was counted.
func (f *CountFn) FinishBundle(_ context.Context, emit func(string)) error {
	text, err := json.Marshal(&f.totals)
	if err == nil {
		emit(string(text))
	}
	return err
}

// Counts counts files of staged documents (PCollection<pack.Staged>) and returns totals (PCollection<string>, see stage.Total).
func Counts(s beam.Scope, fn *CountFn, staged beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("mix.Counts"), fn, staged)
}
