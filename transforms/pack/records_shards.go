package pack

import (
	"context"
	"path"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/parts"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
)

func init() {
	beam.RegisterDoFn(&placeDocsFn{})
	beam.RegisterDoFn(&packDocsFn{})
}

// recordBits are the bits of a place that are its shard's, of any number of shards: the graph is made before they are counted.
const recordBits = 32

// placeDocsFn writes staged documents as records whose places are their shards'.
type placeDocsFn struct {
	Dir string

	work bundle.Workers[parts.Slice]
}

// StartBundle begins with no file.
func (f *placeDocsFn) StartBundle(context.Context, func(*string) bool, func(parts.Slice)) {
	f.work.Start()
}

// ProcessElement begins to place the documents of one file.
func (f *placeDocsFn) ProcessElement(ctx context.Context, in DocGroup, plan func(*string) bool, _ func(parts.Slice)) error {
	text, l, err := layoutFrom(plan)
	if text == "" || err != nil { // without a plan planning failed, and its error is the one to tell
		return err
	}
	return f.work.Go(ctx, func() (parts.Slice, error) {
		set, line := parts.NewSet(0), []byte(nil)
		for g := range in.Groups {
			docs, err := datasets.ReadDocFile(in.Path, int(g), 0, -1)
			if err != nil {
				return parts.Slice{}, err
			}
			for i := range docs {
				d := &docs[i]
				shard := l.Of(datasets.DocRef{Hash: d.Hash, Split: d.Split})
				line = datasets.AppendDoc(line[:0], d)
				set.Add(placeBy(recordBits, l.shards(), shard, d.Hash), line)
			}
		}
		name := path.Base(filepath.ToSlash(in.Path))
		_, whole, err := set.Write(storage.Join(f.Dir, "documents-"+name[:len(name)-len(path.Ext(name))]+".parts"), parts.Root, false)
		return whole, err
	})
}

// FinishBundle emits the references.
func (f *placeDocsFn) FinishBundle(_ context.Context, _ func(*string) bool, emit func(parts.Slice)) error {
	return f.work.Emit(emit)
}

// packDocsFn packs the shards of a range of places.
type packDocsFn struct {
	Set Settings

	opened *opened
	plan   string
	work   bundle.Workers[[]*packed]
}

// Setup loads the tokenizer.
func (f *packDocsFn) Setup(ctx context.Context) (err error) {
	f.opened, err = f.Set.open(ctx)
	return err
}

// StartBundle begins with no range.
func (f *packDocsFn) StartBundle(_ context.Context, _ func(*string) bool, _ func(string, string)) {
	f.work.Start()
}

// ProcessElement begins to pack the shards of one range, whose documents the work holds.
func (f *packDocsFn) ProcessElement(ctx context.Context, _ int64, in func(*parts.Slice) bool, plan func(*string) bool,
	_ func(string, string)) error {
	var all []parts.Slice
	for s := (parts.Slice{}); in(&s); s = (parts.Slice{}) {
		all = append(all, s)
	}
	text, l, err := layoutFrom(plan)
	if text == "" || err != nil {
		return err
	}
	f.plan = text
	return f.work.Go(ctx, func() ([]*packed, error) { return packPart(ctx, f.fn(l.Plan), recordBits, sortDocs, all) })
}

// FinishBundle emits the paths of the shards' descriptions by the plan.
func (f *packDocsFn) FinishBundle(ctx context.Context, _ func(*string) bool, emit func(string, string)) error {
	return f.work.Emit(func(shards []*packed) {
		for _, p := range shards {
			f.fn(Plan{}).count(ctx, p)
			emit(f.plan, p.path)
		}
	})
}

func (f *packDocsFn) fn(p Plan) *ShardFn {
	return &ShardFn{Plan: p, Options: f.opened.options, Meta: f.opened.meta, OutDir: f.Set.Dir, InfoDir: storage.Join(f.Set.Work, "packed")}
}
