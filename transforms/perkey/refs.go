// Package perkey has the transforms of training by key: KV<key, example> becomes an adapter folder, metrics and a model card for each key.
// Keys are trained in groups that share each pass over the frozen base; what travels are references to rows on disk, so that a key may have
// any number of examples.
package perkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

func init() {
	beam.RegisterDoFn(&StageFn{})
	beam.RegisterDoFn(&ShardFn{})
	beam.RegisterType(reflect.TypeFor[Example]())
	beam.RegisterType(reflect.TypeFor[Ref]())
	beam.RegisterType(reflect.TypeFor[ShardRef]())
	register.Emitter2[string, Ref]()
	register.Iter1[Ref]()
}

// Example is one tokenized example of a key.
type Example struct {
	ID, Source string
	InputIDs   []int32
	Labels     []int32 // unshifted, -100 for no loss; empty for the tokens themselves
	Start, End int32   // in the source text, in Unicode code points
	// Spans are each token's start and end there, two numbers a token, in place of Start and End; empty for these.
	Spans []int32
	Eval  bool // held out: scored, never trained on
}

// Ref refers to a key's rows in a row group of a file of sequences. Order and Sum are hashes of each row's document and of its content: by
// them a key's rows are ordered, whatever files and bundles they came in.
type Ref struct {
	Path       string
	Group      int
	Rows       []int32
	Order, Sum []int64
	Eval       bool
}

// ShardRef refers to a packed shard, whose rows have keys.
type ShardRef struct {
	Path string
	Eval bool
}

// hashes are a sequence's Order and Sum.
func hashes(q *datasets.Sequence) (order, sum int64) {
	h := sha256.New()
	for i, id := range q.DocIDs[:min(1, len(q.DocIDs))] {
		fmt.Fprintf(h, "%s\x00%d", id, q.DocSpans[i])
	}
	order = int64(binary.BigEndian.Uint64(h.Sum(nil)))
	h.Reset()
	fmt.Fprint(h, q.DocIDs, q.DocSpans, q.DocStarts)
	_ = binary.Write(h, binary.LittleEndian, q.InputIDs) // a hash takes everything
	_ = binary.Write(h, binary.LittleEndian, q.Labels)
	return order, int64(binary.BigEndian.Uint64(h.Sum(nil)))
}

// add appends a row to the reference.
func (r *Ref) add(row int, q *datasets.Sequence) {
	o, s := hashes(q)
	r.Rows, r.Order, r.Sum = append(r.Rows, int32(row)), append(r.Order, o), append(r.Sum, s)
}

// staged bounds the tokens that StageFn holds.
const staged = 1 << 18

// StageFn writes examples to disk and emits references to them, so that no example goes through a shuffle. A file is named by its content:
// a retried bundle writes the same file.
type StageFn struct {
	Dir            string
	SequenceLength int // longer examples are cut into pieces

	rows   []datasets.Sequence
	eval   []bool
	tokens int
}

// ProcessElement takes one example.
func (f *StageFn) ProcessElement(_ context.Context, key string, e Example, emit func(string, Ref)) error {
	d := datasets.Doc{ID: e.ID, Source: e.Source, Key: key, Tokens: e.InputIDs, Spans: make([][2]int32, len(e.InputIDs))}
	if len(e.Labels) > 0 {
		d.Labels = e.Labels
	}
	for i := range d.Spans {
		if d.Spans[i] = [2]int32{e.Start, e.End}; len(e.Spans) == 2*len(d.Spans) {
			d.Spans[i] = [2]int32(e.Spans[2*i:])
		}
	}
	_, err := datasets.Pack([]datasets.Doc{d}, datasets.PackOptions{Strategy: datasets.PackNone, SequenceLength: f.SequenceLength,
		IsolateDocuments: true}, func(q datasets.Sequence) error {
		f.rows, f.eval, f.tokens = append(f.rows, q), append(f.eval, e.Eval), f.tokens+len(q.InputIDs)
		return nil
	})
	if err != nil || f.tokens < staged {
		return err
	}
	return f.flush(emit)
}

// FinishBundle writes what is left.
func (f *StageFn) FinishBundle(_ context.Context, emit func(string, Ref)) error { return f.flush(emit) }

func (f *StageFn) flush(emit func(string, Ref)) error {
	if len(f.rows) == 0 {
		return nil
	}
	h := sha256.New()
	for i := range f.rows {
		o, s := hashes(&f.rows[i])
		fmt.Fprintf(h, "%q %x %x\n", f.rows[i].Key, o, s)
	}
	path := storage.Join(f.Dir, "examples-"+hex.EncodeToString(h.Sum(nil))[:32]+".parquet")
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: f.SequenceLength,
		Packing: datasets.PackNone, IsolateDocuments: true})
	if err != nil {
		return err
	}
	defer w.Abort()
	w.RowGroupTokens = 1 << 40 // one row group
	refs := map[string]*Ref{}
	var names []string
	for i := range f.rows {
		if err := w.Write(&f.rows[i]); err != nil {
			return err
		}
		name := fmt.Sprintf("%t %s", f.eval[i], f.rows[i].Key)
		if refs[name] == nil {
			refs[name] = &Ref{Path: path, Eval: f.eval[i]}
			names = append(names, name)
		}
		refs[name].add(i, &f.rows[i])
	}
	if _, err := w.Close(); err != nil {
		return err
	}
	for _, name := range names {
		_, key, _ := strings.Cut(name, " ")
		emit(key, *refs[name])
	}
	f.rows, f.eval, f.tokens = nil, nil, 0
	return nil
}

// ShardFn emits references to the rows of a packed shard by their keys. Rows without a key are of the key "".
type ShardFn struct{}

// ProcessElement reads one shard.
func (f *ShardFn) ProcessElement(_ context.Context, in ShardRef, emit func(string, Ref)) error {
	s, err := datasets.OpenShard(in.Path)
	if err != nil {
		return err
	}
	defer s.Close()
	for g := range s.NumRowGroups() {
		rows, err := s.ReadRowGroup(g)
		if err != nil {
			return err
		}
		for at := 0; at < len(rows); { // rows of a key stand together
			r := Ref{Path: in.Path, Group: g, Eval: in.Eval}
			key := rows[at].Key
			for ; at < len(rows) && rows[at].Key == key; at++ {
				r.add(at, &rows[at])
			}
			emit(key, r)
		}
	}
	return nil
}

// row is one row of a key.
type row struct {
	ref        int
	row        int32
	order, sum int64
}

// sorted are the rows of references in their order. Rows of the same content, which two attempts of a bundle would leave, are one.
func sorted(refs []Ref) []row {
	var out []row
	for i, r := range refs {
		for k := range r.Rows {
			out = append(out, row{i, r.Rows[k], r.Order[k], r.Sum[k]})
		}
	}
	slices.SortFunc(out, func(a, b row) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.sum, b.sum)) })
	return slices.CompactFunc(out, func(a, b row) bool { return a.order == b.order && a.sum == b.sum })
}
