package pack

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
)

// Part is a reference to the documents of one row group that belong to one shard.
type Part struct {
	Source string
	Path   string
	Order  int64
	Group  int
	Rows   []int32 // ascending
	Copy   int     // which copy of these documents: see datasets.CopyID
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
		err := router{f.Plan, f.RejectsDir, f.InfoDir}.route(in, func(g int, uses []use) error {
			var rows [][][]int32 // of each copy and shard
			for _, u := range uses {
				for len(rows) <= u.copy {
					rows = append(rows, make([][]int32, f.Plan.shards()))
				}
				rows[u.copy][u.shard] = append(rows[u.copy][u.shard], u.row)
			}
			for c := range rows {
				for shard, rs := range rows[c] {
					if len(rs) > 0 {
						parts = append(parts, routedPart{shard,
							Part{Source: in.Source, Path: in.Path, Order: in.Order, Group: g, Rows: rs, Copy: c}})
					}
				}
			}
			return nil
		})
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

// use is a use of a document of a row group. One that is repeated has several, which follow one another.
type use struct {
	row         int32
	copy, shard int
	hash        uint64 // that it is placed and ordered by
}

// router assigns documents to shards, as often as the plan's quotas want them.
type router struct {
	plan                Plan
	rejectsDir, infoDir string
}

// route reads the hashes of a file of documents, and gives the uses of each row group to group. With quotas it writes dead letters and a
// summary.
func (f router) route(in Staged, group func(g int, uses []use) error) error {
	sum := Routed{Rejected: map[string]int64{}}
	dead := datasets.NewRejectWriter(storage.Join(f.rejectsDir, "mix-"+in.Name+".jsonl.zst"))
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
		uses := make([]use, 0, len(refs))
		for i, r := range refs {
			if f.plan.Quotas == nil || f.plan.Split.Validation(r.Split) {
				uses = append(uses, use{int32(i), 0, f.plan.Of(r), r.Hash})
				sum.Documents, sum.Kept, sum.Tokens = sum.Documents+1, sum.Kept+1, sum.Tokens+r.Length
				continue
			}
			id := datasets.DocID(in.Source, r.Index)
			q := &f.plan.Quotas[in.Part]
			n, reason := q.Copies(datasets.Hash(id, f.plan.Seed, datasets.PurposeMix))
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
					r.Hash = datasets.Hash(datasets.CopyID(id, c), f.plan.Seed, datasets.PurposeShard)
				}
				uses = append(uses, use{int32(i), c, f.plan.Of(r), r.Hash})
			}
		}
		if err := group(g, uses); err != nil {
			return err
		}
	}
	if f.plan.Quotas == nil {
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
	return storage.WriteFile(RoutedPath(f.infoDir, in.Name), b)
}
