// Package mix has the transform that counts staged documents for mixing, by ranges of their hash.
package mix

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/pack"
)

func init() {
	beam.RegisterDoFn(&CountFn{})
	beam.RegisterType(reflect.TypeFor[Count]())
}

// Name is the stage's name, in the funnel and the dead letters.
const Name = "mix"

// CountFn reads the hashes and lengths of staged documents, not their tokens, and writes a [Count]. Documents held out for validation are
// not counted.
type CountFn struct {
	Split datasets.Split
	Seed  uint64
	// Bins are for each source the range of hashes whose documents are listed, -1 for none; nil counts all ranges and lists none.
	Bins   []int
	Pass   int // names the files
	OutDir string
}

// Count is what one file of staged documents has.
type Count struct {
	Histogram datasets.Histogram  `json:"histogram"`
	Entries   []datasets.MixEntry `json:"entries"`
}

// CountPath is the count of a file in a pass.
func CountPath(dir string, pass int, name string) string {
	return storage.Join(dir, fmt.Sprintf("mix-%d-%s.json", pass, name))
}

// ProcessElement counts one file and returns the path of its count.
func (f *CountFn) ProcessElement(_ context.Context, in pack.Staged) (string, error) {
	var c Count
	if f.Bins == nil {
		c.Histogram = datasets.NewHistogram()
	}
	for g := range in.Groups {
		refs, _, err := datasets.ReadDocRefs(in.Path, g)
		if err != nil {
			return "", err
		}
		for _, r := range refs {
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
	b, err := json.Marshal(&c)
	if err != nil {
		return "", err
	}
	p := CountPath(f.OutDir, f.Pass, in.Name)
	return p, storage.WriteFile(p, b)
}

// Counts counts files of staged documents (PCollection<pack.Staged>) and returns the paths of the counts (PCollection<string>).
func Counts(s beam.Scope, fn *CountFn, staged beam.PCollection) beam.PCollection {
	s = s.Scope("mix.Counts")
	return beam.ParDo(s, fn, beam.Reshuffle(s, staged))
}
