package pack

import (
	"context"
	"encoding/json"
	"errors"
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
// With quotas it writes what they leave out to dead letters. It emits a [Routed] in JSON besides.
type RouteFn struct {
	Plan       Plan
	RejectsDir string

	work bundle.Workers[*routedParts]
}

type routedParts struct {
	parts []routedPart
	sum   *Routed
}

type routedPart struct {
	shard int
	part  Part
}

// Routed is what quotas made of the documents of each named source, by number.
type Routed map[int]*RoutedSource

// RoutedKind names [Routed] for stage.Total.
const RoutedKind = "routed"

// Add adds what they made of other documents.
func (r *Routed) Add(o *Routed) {
	if *r == nil {
		*r = Routed{}
	}
	for part, b := range *o {
		a := (*r)[part]
		if a == nil {
			a = &RoutedSource{}
			(*r)[part] = a
		}
		a.Documents, a.Kept, a.Repeated, a.Tokens = a.Documents+b.Documents, a.Kept+b.Kept, a.Repeated+b.Repeated, a.Tokens+b.Tokens
		a.Rejected, a.Rejects = datasets.AddCounts(a.Rejected, b.Rejected), datasets.AddNames(a.Rejects, b.Rejects)
	}
}

// RoutedSource is what quotas made of the documents of a named source: Documents = Kept + all of Rejected.
type RoutedSource struct {
	Documents int64            `json:"documents"`
	Kept      int64            `json:"kept"`     // used at least once
	Repeated  int64            `json:"repeated"` // uses beyond the first
	Tokens    int64            `json:"tokens"`   // of all uses
	Rejected  map[string]int64 `json:"rejected"`
	Rejects   []string         `json:"rejects,omitempty"` // files of dead letters, sorted
}

// StartBundle begins with no file.
func (f *RouteFn) StartBundle(context.Context, func(int, Part), func(string)) { f.work.Start() }

// ProcessElement begins to route one file.
func (f *RouteFn) ProcessElement(ctx context.Context, in Staged, _ func(int, Part), _ func(string)) error {
	return f.work.Go(ctx, func() (*routedParts, error) {
		var parts []routedPart
		sum, err := router{f.Plan, f.RejectsDir}.route(in, func(g int, uses []use) error {
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
		return &routedParts{parts, sum}, err
	})
}

// FinishBundle emits the parts of the files, and what quotas made of them.
func (f *RouteFn) FinishBundle(_ context.Context, emit func(int, Part), routed func(string)) error {
	files, err := f.work.Wait()
	var sum Routed
	for _, file := range files {
		for _, p := range file.parts {
			emit(p.shard, p.part)
		}
		sum.Add(file.sum)
	}
	return errors.Join(err, sum.emit(routed))
}

// emit emits what quotas made of a bundle.
func (r *Routed) emit(routed func(string)) error {
	if len(*r) == 0 {
		return nil
	}
	text, err := json.Marshal(r)
	if err == nil {
		routed(string(text))
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
	plan       Plan
	rejectsDir string
}

// route reads the hashes of a file of documents, and gives the uses of each row group to group. With quotas it writes dead letters.
func (f router) route(in Staged, group func(g int, uses []use) error) (*Routed, error) {
	sum := &RoutedSource{Rejected: map[string]int64{}}
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
			return nil, err
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
					return nil, err
				}
				if err := dead.Write(&datasets.Reject{Source: in.Source, Index: r.Index, Rule: "mix", Reason: reason, Value: value,
					Threshold: limit, Record: record}); err != nil {
					return nil, err
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
			return nil, err
		}
	}
	rejects, err := dead.Close()
	if rejects != "" {
		sum.Rejects = []string{rejects}
	}
	return &Routed{in.Part: sum}, err
}
