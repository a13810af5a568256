// Package pack has the transforms that assign staged documents to shards and pack each shard.
package pack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"runtime"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"golang.org/x/sync/errgroup"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	beam.RegisterDoFn(&RouteFn{})
	beam.RegisterDoFn(&ShardFn{})
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

// Part is a reference to the documents of one row group that belong to one shard.
type Part struct {
	Source string
	Path   string
	Order  int64
	Group  int
	Rows   []int32 // ascending
	Copy   int     // which copy of these documents: see datasets.CopyID
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

// RouteFn reads the hashes of staged documents, not their tokens, and emits for each shard the rows that belong to it.
// With quotas it writes what they leave out to dead letters, and a summary.
type RouteFn struct {
	Plan                Plan
	RejectsDir, InfoDir string

	work bundle.Workers[[]routedPart]
}

type routedPart struct {
	shard int
	part  Part
}

// Routed is what quotas made of a file of staged documents: Documents = Kept + all of Rejected.
type Routed struct {
	Documents int64            `json:"documents"`
	Kept      int64            `json:"kept"`     // used at least once
	Repeated  int64            `json:"repeated"` // uses beyond the first
	Tokens    int64            `json:"tokens"`   // of all uses
	Rejected  map[string]int64 `json:"rejected"`
	Rejects   string           `json:"rejects,omitempty"`
}

// RoutedPath is the summary of a file in the folder dir.
func RoutedPath(dir, name string) string { return storage.Join(dir, "routed-"+name+".json") }

// StartBundle begins with no file.
func (f *RouteFn) StartBundle(context.Context, func(int, Part)) { f.work.Start() }

// ProcessElement begins to route one file.
func (f *RouteFn) ProcessElement(ctx context.Context, in Staged, _ func(int, Part)) error {
	return f.work.Go(ctx, func() ([]routedPart, error) {
		var parts []routedPart
		err := f.route(in, func(shard int, p Part) { parts = append(parts, routedPart{shard, p}) })
		return parts, err
	})
}

// FinishBundle emits the parts of the files.
func (f *RouteFn) FinishBundle(_ context.Context, emit func(int, Part)) error {
	files, err := f.work.Wait()
	for _, parts := range files {
		for _, p := range parts {
			emit(p.shard, p.part)
		}
	}
	return err
}

func (f *RouteFn) route(in Staged, emit func(int, Part)) error {
	sum := Routed{Rejected: map[string]int64{}}
	dead := datasets.NewRejectWriter(storage.Join(f.RejectsDir, "mix-"+in.Name+".jsonl.zst"))
	defer dead.Abort()
	texts := map[int64][]byte{} // of the group's records, by their place in the source; read when the first is left out
	text := func(index int64) ([]byte, error) {
		if len(texts) == 0 {
			recs, err := datasets.ReadRecords(in.Records, in.Source, in.Group)
			if err != nil {
				return nil, err
			}
			for i := range recs {
				b := []byte(recs[i].Text)
				texts[recs[i].Index] = b[:min(len(b), datasets.MaxRejectRecord)]
			}
		}
		return texts[index], nil
	}
	for g := range in.Groups {
		refs, _, err := datasets.ReadDocRefs(in.Path, g)
		if err != nil {
			return err
		}
		var rows [][][]int32 // of each copy and shard
		add := func(n, shard, row int) {
			for len(rows) <= n {
				rows = append(rows, make([][]int32, f.Plan.Train+f.Plan.Validation))
			}
			rows[n][shard] = append(rows[n][shard], int32(row))
		}
		for i, r := range refs {
			if f.Plan.Quotas == nil || f.Plan.Split.Validation(r.Split) {
				add(0, f.Plan.Of(r), i)
				sum.Documents, sum.Kept, sum.Tokens = sum.Documents+1, sum.Kept+1, sum.Tokens+r.Length
				continue
			}
			id := datasets.DocID(in.Source, r.Index)
			q := &f.Plan.Quotas[in.Part]
			n, reason := q.Copies(datasets.Hash(id, f.Plan.Seed, datasets.PurposeMix))
			sum.Documents++
			if n == 0 {
				sum.Rejected[reason]++
				value, limit := fmt.Sprintf("%d documents of %d tokens are before it", q.Cap.Documents, q.Cap.Tokens), fmt.Sprint(q.Limit)
				if reason == datasets.ReasonShare {
					value, limit = fmt.Sprintf("%d documents of %d tokens are before it", q.Part.Documents, q.Part.Tokens),
						"the source's share"
				}
				record, err := text(r.Index)
				if err != nil {
					return err
				}
				if err := dead.Write(&datasets.Reject{Source: in.Source, Index: r.Index, Rule: "mix", Reason: reason, Value: value,
					Threshold: limit, Record: record}); err != nil {
					return err
				}
				continue
			}
			sum.Kept, sum.Repeated, sum.Tokens = sum.Kept+1, sum.Repeated+int64(n-1), sum.Tokens+int64(n)*r.Length
			for c := range n {
				if c > 0 {
					r.Hash = datasets.Hash(datasets.CopyID(id, c), f.Plan.Seed, datasets.PurposeShard)
				}
				add(c, f.Plan.Of(r), i)
			}
		}
		for c := range rows {
			for s, rs := range rows[c] {
				if len(rs) > 0 {
					emit(s, Part{Source: in.Source, Path: in.Path, Order: in.Order, Group: g, Rows: rs, Copy: c})
				}
			}
		}
	}
	if f.Plan.Quotas == nil {
		return nil
	}
	var err error
	if sum.Rejects, err = dead.Close(); err != nil {
		return err
	}
	b, err := json.Marshal(&sum)
	if err != nil {
		return err
	}
	return storage.WriteFile(RoutedPath(f.InfoDir, in.Name), b)
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
	return storage.Join(dir, fmt.Sprintf("shard-%05d.json", shard))
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
	if !f.FileOrder {
		slices.SortFunc(staged, func(a, b datasets.StagedDoc) int {
			return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.ID, b.ID))
		})
	}
	return f.write(shard, staged)
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

// Shards packs staged documents (PCollection<Staged>) into shards and returns the paths of their descriptions (PCollection<string>). What
// is grouped are references to rows; no document travels.
func Shards(s beam.Scope, fn *ShardFn, staged beam.PCollection) beam.PCollection {
	s = s.Scope("pack.Shards")
	parts := beam.ParDo(s, &RouteFn{Plan: fn.Plan, RejectsDir: fn.RejectsDir, InfoDir: fn.InfoDir}, beam.Reshuffle(s, staged))
	return beam.ParDo(s, fn, beam.GroupByKey(s, parts))
}
