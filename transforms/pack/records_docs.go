package pack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

func init() { beam.RegisterDoFn(&stageFn{}) }

// DocGroup is a reference to a file of staged documents, sorted by hash and id.
type DocGroup struct {
	Path   string `beam:"path"`
	Groups int64  `beam:"groups"` // row groups
	Docs   int64  `beam:"docs"`
	Tokens int64  `beam:"tokens"`
	// MinSplit and MaxSplit are the bits of the least and the greatest datasets.PurposeValidation hash.
	MinSplit int64 `beam:"min_split"`
	MaxSplit int64 `beam:"max_split"`
}

// groupTokens bounds what an instance of stageFn holds: with its spans a token takes 12 to 16 bytes.
const groupTokens = 2 << 20

// compareDocs orders documents: by shard hash and id, as shards are sorted; what has one id and differs all the same, by what it holds.
func compareDocs(a, b *datasets.StagedDoc) int {
	return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.ID, b.ID), slices.Compare(a.Tokens, b.Tokens),
		slices.Compare(a.Labels, b.Labels), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Key, b.Key),
		slices.CompareFunc(a.Spans, b.Spans, func(x, y [2]int32) int { return slices.Compare(x[:], y[:]) }))
}

func sortDocs(docs []datasets.StagedDoc) {
	slices.SortFunc(docs, func(a, b datasets.StagedDoc) int { return compareDocs(&a, &b) })
}

// stageFn writes the documents of a bundle to files, each named by what it holds: which documents lie in one file changes no shard, and a
// bundle that is done again writes the same files.
type stageFn struct {
	Dir    string
	Tokens int64

	held   []datasets.StagedDoc
	tokens int64
}

// StartBundle begins with no document.
func (f *stageFn) StartBundle(context.Context, func(DocGroup)) { f.held, f.tokens = nil, 0 }

// ProcessElement takes one document.
func (f *stageFn) ProcessElement(_ context.Context, d datasets.StagedDoc, emit func(DocGroup)) error {
	f.held = append(f.held, d)
	if f.tokens += int64(len(d.Tokens)) + 16; f.tokens < f.Tokens {
		return nil
	}
	return f.flush(emit)
}

// FinishBundle writes what is left.
func (f *stageFn) FinishBundle(_ context.Context, emit func(DocGroup)) error { return f.flush(emit) }

func (f *stageFn) flush(emit func(DocGroup)) error {
	if len(f.held) == 0 {
		return nil
	}
	sortDocs(f.held)
	lo, hi := uint64(math.MaxUint64), uint64(0)
	g := DocGroup{Docs: int64(len(f.held))}
	for i := range f.held {
		d := &f.held[i]
		g.Tokens += int64(len(d.Tokens))
		lo, hi = min(lo, d.Split), max(hi, d.Split)
	}
	g.MinSplit, g.MaxSplit = int64(lo), int64(hi)
	g.Path = storage.Join(f.Dir, docsHash(f.held)+".parquet")
	groups, err := datasets.WriteDocFile(g.Path, f.held)
	if err != nil {
		return fmt.Errorf("staging documents: %w", err)
	}
	g.Groups = int64(len(groups))
	f.held, f.tokens = nil, 0
	emit(g)
	return nil
}

// docsHash names a file of documents.
func docsHash(docs []datasets.StagedDoc) string {
	h := sha256.New()
	h.Write([]byte("adaptflow documents 1\n"))
	for i := range docs {
		d := &docs[i]
		fmt.Fprintf(h, "%q %q %q %d %x %x %d %d\n", d.ID, d.Source, d.Key, d.Index, d.Hash, d.Split, len(d.Tokens), len(d.Labels))
		_ = binary.Write(h, binary.LittleEndian, d.Tokens) // a hash takes everything
		_ = binary.Write(h, binary.LittleEndian, d.Labels)
		_ = binary.Write(h, binary.LittleEndian, d.Spans)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
