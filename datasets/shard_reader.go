package datasets

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Shard is an open shard file. Its methods may be called from several goroutines.
type Shard struct {
	path string
	r    storage.ReaderAt
	f    *parquet.File
	cols struct{ inputIDs, labels, docStarts, docIDs, starts, ends, sources, key *parquet.Column }
	meta ShardMeta
}

// OpenShard opens a shard and validates its schema: input_ids and labels are required lists of integers; doc_starts, doc_ids, doc_spans,
// sources and key may be missing (a shard of another writer), then each row is one document. The elements of lists are resolved by
// position, whatever they are named.
func OpenShard(path string) (_ *Shard, err error) {
	r, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
			err = fmt.Errorf("shard %s: %w", path, err)
		}
	}()
	s := &Shard{path: path, r: r}
	if s.f, err = openParquet(r); err != nil {
		return nil, err
	}
	if n := s.f.NumRows(); n > shardRows+rowsPerByte*r.Size() { // the order of a training has a place for each
		return nil, fmt.Errorf("damaged file: %d rows in %d bytes", n, r.Size())
	}
	for _, c := range []struct {
		to             **parquet.Column
		name, sub      string
		required, ints bool
	}{
		{&s.cols.inputIDs, "input_ids", "", true, true},
		{&s.cols.labels, "labels", "", true, true},
		{&s.cols.docStarts, "doc_starts", "", false, true},
		{&s.cols.docIDs, "doc_ids", "", false, false},
		{&s.cols.starts, "doc_spans", "start", false, true},
		{&s.cols.ends, "doc_spans", "end", false, true},
		{&s.cols.sources, "sources", "", false, false},
	} {
		if !c.required && s.f.Root().Column(c.name) == nil {
			continue
		}
		leaf, err := findLeaf(s.f, c.name, c.sub)
		if err != nil {
			return nil, err
		}
		kind, ok := leaf.Type().Kind(), false
		if c.ints {
			ok = kind == parquet.Int32 || kind == parquet.Int64
		} else {
			ok = kind == parquet.ByteArray
		}
		if !ok || leaf.MaxRepetitionLevel() != 1 {
			return nil, fmt.Errorf("column %q is %s, a list of %s is wanted", c.name, leaf.Type(),
				map[bool]string{true: "int32", false: "strings"}[c.ints])
		}
		*c.to = leaf
	}
	if k := s.f.Root().Column("key"); k != nil && k.Leaf() && !k.Repeated() && k.Type().Kind() == parquet.ByteArray {
		s.cols.key = k
	}
	return s, s.readMeta()
}

func (s *Shard) readMeta() error {
	get := func(k string) string { v, _ := s.f.Lookup(k); return v }
	if v := get("schema_version"); v != "" && v != strconv.Itoa(SchemaVersion) {
		return fmt.Errorf("schema_version is %s, this version reads %d; prepare the data again", v, SchemaVersion)
	}
	s.meta = ShardMeta{Kind: get("kind"), TokenizerHash: get("tokenizer_hash"), TemplateHash: get("template_hash"), Packing: get("packing"),
		IsolateDocuments: get("isolate_documents") == "true", Version: get("version")}
	if s.meta.Kind == "" {
		s.meta.Kind = KindLM
	}
	if kinds := []string{KindLM, KindClassification, KindPreference, KindUnpaired, KindPrompt}; !slices.Contains(kinds, s.meta.Kind) {
		return fmt.Errorf("kind is %q, one of %s is wanted", s.meta.Kind, strings.Join(kinds, ", "))
	}
	var err error
	if v := get("label_names"); v != "" {
		if err = json.Unmarshal([]byte(v), &s.meta.Labels); err != nil {
			return fmt.Errorf("metadata label_names: %w", err)
		}
	}
	if v := get("sequence_length"); v != "" {
		if s.meta.SequenceLength, err = strconv.Atoi(v); err != nil {
			return fmt.Errorf("metadata sequence_length: %w", err)
		}
	}
	if v := get("seed"); v != "" {
		if s.meta.Seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			return fmt.Errorf("metadata seed: %w", err)
		}
	}
	return nil
}

// Path is the path the shard was opened by.
func (s *Shard) Path() string { return s.path }

// Meta is the shard's metadata.
func (s *Shard) Meta() ShardMeta { return s.meta }

// NumRowGroups counts the row groups.
func (s *Shard) NumRowGroups() int { return len(s.f.RowGroups()) }

// NumRows counts the sequences.
func (s *Shard) NumRows() int64 { return s.f.NumRows() }

// RowGroupRows counts the sequences of a row group.
func (s *Shard) RowGroupRows(i int) int64 { return s.f.RowGroups()[i].NumRows() }

// Close closes the file.
func (s *Shard) Close() error { return s.r.Close() }

// Silent says of each sequence of row group i whether no token of it has a loss. It reads the labels alone.
func (s *Shard) Silent(i int) ([]bool, error) {
	rg := s.f.RowGroups()[i]
	l, err := readInts(rg, s.cols.labels, allRows(rg))
	if err != nil {
		return nil, fmt.Errorf("shard %s, row group %d: %w", s.path, i, err)
	}
	out := make([]bool, rg.NumRows())
	for r := range out {
		out[r] = !slices.ContainsFunc(l.row(r), func(id int32) bool { return id > NoLoss })
	}
	return out, nil
}

// ReadRowGroup reads the sequences of row group i, each validated; the memory is the row group's. It panics when i is out of range.
func (s *Shard) ReadRowGroup(i int) ([]Sequence, error) {
	out, err := s.readRowGroup(s.f.RowGroups()[i])
	if err != nil {
		return nil, fmt.Errorf("shard %s, row group %d: %w", s.path, i, err)
	}
	return out, nil
}

// Each calls do with the rows of a shard, in order, until it fails.
func (s *Shard) Each(do func(*Sequence) error) error {
	for g := range s.NumRowGroups() {
		rows, err := s.ReadRowGroup(g)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := do(&rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Shard) readRowGroup(rg parquet.RowGroup) ([]Sequence, error) {
	n := int(rg.NumRows())
	ints := func(c *parquet.Column, err *error) (l lists[int32]) {
		if *err == nil && c != nil {
			l, *err = readInts(rg, c, allRows(rg))
		}
		return l
	}
	strs := func(c *parquet.Column, err *error) (l lists[string]) {
		if *err == nil && c != nil {
			l, *err = readStrings(rg, c)
		}
		return l
	}
	var err error
	ids, labels, docStarts := ints(s.cols.inputIDs, &err), ints(s.cols.labels, &err), ints(s.cols.docStarts, &err)
	starts, ends := ints(s.cols.starts, &err), ints(s.cols.ends, &err)
	docIDs, sources := strs(s.cols.docIDs, &err), strs(s.cols.sources, &err)
	var keys []string
	if err == nil && s.cols.key != nil {
		keys, err = readScalars(rg, s.cols.key, func(v parquet.Value) string {
			if v.IsNull() {
				return ""
			}
			return string(v.ByteArray())
		})
	}
	if err != nil {
		return nil, err
	}
	out := make([]Sequence, n)
	for r := range out {
		q := &out[r]
		q.InputIDs, q.Labels = ids.row(r), labels.row(r)
		q.DocStarts = []int32{0}
		if s.cols.docStarts != nil {
			q.DocStarts = docStarts.row(r)
		}
		if s.cols.docIDs != nil {
			q.DocIDs = docIDs.row(r)
		} else {
			q.DocIDs = make([]string, len(q.DocStarts))
		}
		if s.cols.sources != nil {
			q.Sources = sources.row(r)
		} else {
			q.Sources = make([]string, len(q.DocIDs))
		}
		q.DocSpans = make([][2]int32, len(q.DocIDs))
		if s.cols.starts != nil {
			a, b := starts.row(r), ends.row(r)
			if len(a) != len(q.DocSpans) || len(b) != len(a) {
				return nil, fmt.Errorf("row %d: %d doc_spans for %d doc_ids", r, len(a), len(q.DocSpans))
			}
			for k := range a {
				q.DocSpans[k] = [2]int32{a[k], b[k]}
			}
		}
		if keys != nil {
			q.Key = keys[r]
		}
		if err := q.Validate(); err != nil {
			return nil, fmt.Errorf("row %d: %w", r, err)
		}
		if s.meta.Kind == KindUnpaired {
			q.Values = map[string][]float32{ColumnLabel: q.labels()}
		}
		if s.meta.Kind == KindPreference {
			if m := q.margins(); m != nil {
				q.Values = map[string][]float32{ColumnMargin: m}
			}
		}
	}
	return out, nil
}

// openParquet opens a Parquet file; page indexes and bloom filters are not read. Damage, and metadata that would take memory out of
// proportion, is an error, never a panic; so is a page of it when it is read.
func openParquet(r storage.ReaderAt) (*parquet.File, error) {
	footer, err := checkFooter(r)
	if err != nil {
		return nil, err
	}
	if footer == nil {
		return openOwnParquet(r)
	}
	g, err := newPageFile(r, footer)
	if err != nil {
		return nil, err
	}
	return openOwnParquet(g)
}

// openOwnParquet is [openParquet] of a file that this run wrote, of which pages are read in any order: nothing is looked at before the
// decoder does.
func openOwnParquet(r storage.ReaderAt) (f *parquet.File, err error) {
	defer guard(&err)
	return parquet.OpenFile(r, r.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(256<<10))
}
