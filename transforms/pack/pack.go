// Package pack has the transforms that assign staged documents to shards and pack each shard. [Records] is for programs with collections of
// their own.
package pack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"golang.org/x/sync/errgroup"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/progress"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/partition"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&RouteFn{})
	beam.RegisterDoFn(&ShardFn{})
	beam.RegisterDoFn(&infoFn{})
	stage.RegisterTotal[Totals](TotalsKind)
	stage.RegisterTotal[Routed](RoutedKind)
	beam.RegisterType(reflect.TypeFor[Staged]())
	beam.RegisterType(reflect.TypeFor[Part]())
	register.Emitter1[string]()
	register.Emitter2[int, Part]()
	register.Iter1[Part]()
}

// Staged is a reference to a file of staged documents.
type Staged struct {
	Source string
	Path   string
	Name   string // names what is written for the file
	Groups int
	Order  int64 // position in the corpus
	Part   int   // the named source that it belongs to, by number
	// Records and Group are the row group of records that the documents were made of, for the dead letters of those left out.
	Records string
	Group   int
}

// Plan is the assignment of documents to shards: shards 0 … Train-1 are for training, the Validation ones after them for validation.
type Plan struct {
	Train, Validation int
	Split             datasets.Split
	// Quotas say how often the documents of each named source are used; nil uses each once. Seed is that of their hashes.
	Quotas []datasets.Quota
	Seed   uint64
}

// Of returns the shard of a document.
func (p Plan) Of(r datasets.DocRef) int {
	if p.Split.Validation(r.Split) {
		return p.Train + datasets.ShardOf(r.Hash, p.Validation)
	}
	return datasets.ShardOf(r.Hash, p.Train)
}

// trainPrefix begins the names of the files of training.
const trainPrefix = "train-"

// FileName is the name of a shard's file.
func (p Plan) FileName(shard int) string {
	if shard < p.Train {
		return fmt.Sprintf(trainPrefix+"%05d-of-%05d.parquet", shard, p.Train)
	}
	return fmt.Sprintf("validation-%05d-of-%05d.parquet", shard-p.Train, p.Validation)
}

// ShardFn packs the documents of a shard into a Parquet file.
type ShardFn struct {
	Plan      Plan
	Options   datasets.PackOptions
	Meta      datasets.ShardMeta
	FileOrder bool
	OutDir    string
	InfoDir   string
	// RejectsDir takes the dead letters of what the plan's quotas leave out.
	RejectsDir string
	// Files is how many files of staged documents there are at most, 0 where that is not known, and PartBytes what is held at once of the
	// documents of many shards, 0 for the default of partition.Settings. They change no shard.
	Files, PartBytes int64

	work bundle.Workers[*packed]
}

// packed is a shard, and where its description is.
type packed struct {
	Info
	path string
}

// Info is what packing a shard gave.
type Info struct {
	Shard datasets.ShardInfo // its path is relative to the folder
	Stats datasets.PackStats
}

// InfoPath is the description of a shard in the folder dir.
func InfoPath(dir string, shard int) string {
	return storage.Join(dir, fmt.Sprintf(infoName, shard))
}

const infoName = "shard-%05d.json"

// Totals are the descriptions of all shards.
type Totals struct {
	Shards []Numbered `json:"shards"` // by number
}

// Numbered is the description of a shard and its number.
type Numbered struct {
	Number int  `json:"number"`
	Info   Info `json:"info"`
}

// TotalsKind names [Totals] for stage.Total.
const TotalsKind = "pack"

// Add adds the descriptions of other shards.
func (t *Totals) Add(o *Totals) {
	t.Shards = append(t.Shards, o.Shards...)
	slices.SortFunc(t.Shards, func(a, b Numbered) int { return cmp.Compare(a.Number, b.Number) })
}

// Described reads the descriptions of shards, whose paths these are (PCollection<string>), for stage.Total of [TotalsKind].
func Described(s beam.Scope, paths beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("pack.Described"), &infoFn{}, paths)
}

// infoFn reads the description of a shard.
type infoFn struct{}

// ProcessElement returns the [Totals] of the one.
func (*infoFn) ProcessElement(file string) (string, error) {
	var one Numbered
	raw, err := storage.ReadFile(file)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(raw, &one.Info); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if _, err := fmt.Sscanf(path.Base(filepath.ToSlash(file)), infoName, &one.Number); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	text, err := json.Marshal(Totals{Shards: []Numbered{one}})
	return string(text), err
}

// StartBundle begins with no shard.
func (f *ShardFn) StartBundle(context.Context, func(string)) { f.work.Start() }

// ProcessElement begins to pack one shard. The work holds the shard's documents, tokens_per_shard tokens or so.
func (f *ShardFn) ProcessElement(ctx context.Context, shard int, parts func(*Part) bool, _ func(string)) error {
	var all []Part
	for p := (Part{}); parts(&p); p = (Part{}) {
		all = append(all, p)
	}
	return f.work.Go(ctx, func() (*packed, error) { return f.pack(shard, all) })
}

// FinishBundle emits the paths of the shards' descriptions.
func (f *ShardFn) FinishBundle(ctx context.Context, emit func(string)) error {
	shards, err := f.work.Wait()
	for _, p := range shards {
		f.count(ctx, p)
		emit(p.path)
	}
	return err
}

// count counts a shard.
func (f *ShardFn) count(ctx context.Context, p *packed) {
	st := p.Stats
	meter.Add(ctx, meter.DocumentsIn, st.Docs)
	meter.Add(ctx, meter.TokensIn, st.Tokens)
	meter.Add(ctx, meter.TokensOut, st.Tokens-st.Dropped)
	meter.Add(ctx, meter.SequencesOut, st.Sequences)
	progress.Add(progress.Sequences, st.Sequences)
	if places := st.Sequences * int64(f.Options.SequenceLength); places > 0 {
		meter.Observe(ctx, meter.PackingFill, (st.Tokens-st.Dropped)*1000/places)
	}
}

// pack packs a shard and writes its description.
func (f *ShardFn) pack(shard int, all []Part) (*packed, error) {
	slices.SortFunc(all, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Copy, b.Copy))
	})
	parts := make([][]datasets.StagedDoc, len(all))
	var reading errgroup.Group // on all processors: where there are fewer shards than those, or one more, this thread is alone
	reading.SetLimit(runtime.GOMAXPROCS(0))
	for i, one := range all {
		if i > 0 && one.Order == all[i-1].Order && one.Group == all[i-1].Group && one.Copy == all[i-1].Copy {
			return nil, errors.Join(fmt.Errorf("shard %d: row group %d of %s came twice", shard, one.Group, one.Path), reading.Wait())
		}
		reading.Go(func() (err error) {
			parts[i], err = f.docs(one)
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	staged := slices.Concat(parts...)
	f.sort(staged)
	return f.write(shard, staged)
}

// sort puts the documents of a shard, which are in the order of the corpus, into that of the shard.
func (f *ShardFn) sort(staged []datasets.StagedDoc) {
	if !f.FileOrder {
		slices.SortFunc(staged, func(a, b datasets.StagedDoc) int {
			return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.ID, b.ID))
		})
	}
}

// write packs the documents of a shard, in their order, and writes it and its description.
func (f *ShardFn) write(shard int, staged []datasets.StagedDoc) (*packed, error) {
	docs := make([]datasets.Doc, len(staged))
	for i := range staged {
		docs[i] = staged[i].Doc
	}
	name := f.Plan.FileName(shard)
	w, err := datasets.CreateShard(storage.Join(f.OutDir, name), f.Meta)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	w.NameByContent = !storage.IsLocal(f.OutDir)
	p := &packed{path: InfoPath(f.InfoDir, shard)}
	if p.Stats, err = datasets.Pack(docs, f.Options, func(s datasets.Sequence) error { return w.Write(&s) }); err != nil {
		return nil, fmt.Errorf("shard %s: %w", name, err)
	}
	if p.Shard, err = w.Close(); err != nil {
		return nil, err
	}
	p.Shard.Path = path.Base(p.Shard.Path)
	b, err := json.Marshal(&p.Info)
	if err != nil {
		return nil, err
	}
	return p, storage.WriteFile(p.path, b)
}

// docs reads the documents of a part.
func (f *ShardFn) docs(p Part) ([]datasets.StagedDoc, error) {
	docs, err := datasets.ReadDocs(p.Path, p.Source, p.Group, p.Rows)
	if p.Copy > 0 {
		for k := range docs {
			docs[k].Hash = datasets.Hash(datasets.CopyID(docs[k].ID, p.Copy), f.Plan.Seed, datasets.PurposeShard)
		}
	}
	return docs, err
}

// directShards and directReads bound what is packed directly: where there are few shards, or few files, each shard reads its documents out
// of the files that they were staged in, which is one write and one read less. The reads are as many as shards times files: beyond the
// bounds the documents are first brought together by their shard ([partition.Split]), and the reads grow as the documents do.
const (
	directShards = 16
	directReads  = 4096
)

// partsOf is for tests: more than 0 brings documents together by their shard however few they are, and is the PartBytes then.
var partsOf int64

// direct says whether shards read the files that documents were staged in.
func (f *ShardFn) direct() bool {
	shards := int64(f.Plan.Train + f.Plan.Validation)
	return partsOf == 0 && (shards <= directShards || f.Files > 0 && f.Files <= directReads/shards)
}

// Shards packs staged documents (PCollection<Staged>) into shards and returns the paths of their descriptions (PCollection<string>). What
// is grouped are references to documents; none travels. The shards' bytes are the same whichever way documents get there. What the plan's
// quotas made of the documents is routed (PCollection<string>, see stage.Total and [RoutedKind]).
func Shards(s beam.Scope, fn *ShardFn, staged beam.PCollection) (shards, routed beam.PCollection) {
	s = s.Scope("pack.Shards")
	staged = beam.Reshuffle(s, staged)
	if fn.direct() {
		parts, routed := beam.ParDo2(s, &RouteFn{Plan: fn.Plan, RejectsDir: fn.RejectsDir}, staged)
		return beam.ParDo(s, fn, beam.GroupByKey(s, parts)), routed
	}
	placed, routed := beam.ParDo2(s, &placeFn{Plan: fn.Plan, FileOrder: fn.FileOrder, RejectsDir: fn.RejectsDir, InfoDir: fn.InfoDir},
		staged)
	parts := partition.Split(s, partition.Settings{Dir: fn.InfoDir, Name: "shards", PartBytes: cmp.Or(partsOf, fn.PartBytes),
		Bits: fn.Plan.bits()}, placed)
	return beam.ParDo(s, &partFn{Fn: *fn}, beam.GroupByKey(s, parts)), routed
}
