package datasets

import (
	"fmt"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Staged files carry documents from one data stage to the next, so that none travels through a shuffle: Parquet whose row groups are what
// references name. On a local disk they are not compressed: they are read once or twice and deleted, and compressing took as long as all
// else that a stage does. What goes to an object store has zstd.

// table writes rows of one type in bounded row groups.
type table[T any] struct {
	file   *storage.File
	w      *parquet.GenericWriter[T]
	rows   int64
	size   int64
	limit  int64
	groups []int64 // rows of each finished group
}

func createTable[T any](path string, limit int64, options ...parquet.WriterOption) (*table[T], error) {
	f, err := storage.Create(path)
	if err != nil {
		return nil, err
	}
	f.Unsynced() // a data stage begins anew after the machine was lost
	opts := writerOptions()
	if storage.IsLocal(path) {
		opts = append(opts, parquet.Compression(&parquet.Uncompressed))
	}
	opts = append(opts, options...)
	return &table[T]{file: f, w: parquet.NewGenericWriter[T](f, opts...), limit: limit}, nil
}

func (t *table[T]) add(row T, size int64) error {
	if _, err := t.w.Write([]T{row}); err != nil {
		return fmt.Errorf("%s: %w", t.file.Path(), err)
	}
	t.rows++
	if t.size += size; t.size >= t.limit {
		return t.flush()
	}
	return nil
}

func (t *table[T]) flush() error {
	if t.rows == 0 {
		return nil
	}
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("%s: %w", t.file.Path(), err)
	}
	t.groups = append(t.groups, t.rows)
	t.rows, t.size = 0, 0
	return nil
}

func (t *table[T]) close() ([]int64, error) {
	defer t.file.Abort()
	if err := t.flush(); err != nil {
		return nil, err
	}
	if err := t.w.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", t.file.Path(), err)
	}
	return t.groups, t.file.Commit()
}

// tableFile is an open staged file.
type tableFile struct {
	path string
	r    storage.ReaderAt
	f    *parquet.File
}

func openTable(path string) (*tableFile, error) {
	r, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	f, err := openOwnParquet(r)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("staged file %s: %w", path, err)
	}
	return &tableFile{path, r, f}, nil
}

func (t *tableFile) groups() int { return len(t.f.RowGroups()) }

// columnOf reads a plain column of a row group of a staged file.
func columnOf[T any](t *tableFile, group int, name string, value func(parquet.Value) T) ([]T, error) {
	c, err := findLeaf(t.f, name, "")
	if err == nil {
		var out []T
		if out, err = readScalars(t.f.RowGroups()[group], c, value); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("staged file %s: %w", t.path, err)
}

func (t *tableFile) ints(group int, name string, rows rowRange) (lists[int32], error) {
	c, err := findLeaf(t.f, name, "")
	if err == nil {
		var out lists[int32]
		if out, err = readInts(t.f.RowGroups()[group], c, rows); err == nil {
			return out, nil
		}
	}
	return lists[int32]{}, fmt.Errorf("staged file %s: %w", t.path, err)
}

func asInt64(v parquet.Value) int64   { return v.Int64() }
func asString(v parquet.Value) string { return string(v.ByteArray()) }

// stagedGroupBytes bounds the text of a row group of staged records; a row group is the unit of work of the stage that follows.
const stagedGroupBytes = 4 << 20

type stagedRecord struct {
	Index int64  `parquet:"index,delta"`
	Text  string `parquet:"text"`
	Key   string `parquet:"key,dict"`
	URL   string `parquet:"url"`
	Row   string `parquet:"row"`
	Print []byte `parquet:"print"`
}

// RecordWriter stages the records of one source.
type RecordWriter struct {
	t     *table[stagedRecord]
	spans [][2]int64
}

// CreateRecords begins a staged file of records.
func CreateRecords(path string) (*RecordWriter, error) {
	t, err := createTable[stagedRecord](path, stagedGroupBytes)
	if err != nil {
		return nil, err
	}
	return &RecordWriter{t: t}, nil
}

// CreateGroup begins a staged file of records that will be one row group, however large.
func CreateGroup(path string) (*RecordWriter, error) {
	t, err := createTable[stagedRecord](path, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	return &RecordWriter{t: t}, nil
}

// GroupBytes sets the text of a row group, 0 for the default.
func (w *RecordWriter) GroupBytes(n int64) {
	if n > 0 {
		w.t.limit = n
	}
}

// Write adds a record. Its source is not stored.
func (w *RecordWriter) Write(r *Record) error {
	if w.t.rows == 0 {
		w.spans = append(w.spans, [2]int64{r.Index, r.Index})
	}
	w.spans[len(w.spans)-1][1] = r.Index
	if r.Print == (Print{}) {
		r.Print = PrintOf(r.Text)
	}
	return w.t.add(stagedRecord{r.Index, r.Text, r.Key, r.URL, r.Row, r.Print[:]}, int64(len(r.Text)+len(r.Row))+64)
}

// Close finishes the file and returns the first and last record index of each row group.
func (w *RecordWriter) Close() ([][2]int64, error) {
	_, err := w.t.close()
	return w.spans, err
}

// Abort drops the file. After Close it does nothing.
func (w *RecordWriter) Abort() { w.t.file.Abort() }

// ReadRecords reads a row group of a staged file of records of a source.
func ReadRecords(path, source string, group int) ([]Record, error) {
	t, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer t.r.Close()
	index, err := columnOf(t, group, "index", asInt64)
	if err != nil {
		return nil, err
	}
	text, err := columnOf(t, group, "text", asString)
	if err != nil {
		return nil, err
	}
	key, err := columnOf(t, group, "key", asString)
	if err != nil {
		return nil, err
	}
	url, err := columnOf(t, group, "url", asString)
	if err != nil {
		return nil, err
	}
	row, err := columnOf(t, group, "row", asString)
	if err != nil {
		return nil, err
	}
	prints, err := columnOf(t, group, "print", func(v parquet.Value) (p Print) {
		copy(p[:], v.ByteArray())
		return p
	})
	if err != nil {
		return nil, err
	}
	out := make([]Record, len(index))
	for i := range out {
		out[i] = Record{Source: source, Index: index[i], Text: text[i], Key: key[i], URL: url[i], Row: row[i], Print: prints[i]}
	}
	return out, nil
}

// stagedGroupTokens bounds a row group of staged documents. Its pages are small, so that a shard, whose documents follow one another, reads
// little that belongs to other shards, however many there are.
const (
	stagedGroupTokens = 1 << 20
	stagedPageBytes   = 32 << 10
)

// StagedDoc is a tokenized document on its way to a shard.
type StagedDoc struct {
	Doc
	Index int64  // record index in the source
	Hash  uint64 // PurposeShard hash of the id
	Split uint64 // PurposeValidation hash of the id
}

type stagedDoc struct {
	Index  int64   `parquet:"index"`
	Hash   int64   `parquet:"hash"`
	Split  int64   `parquet:"split"`
	Length int64   `parquet:"length"`
	Key    string  `parquet:"key,dict"`
	IDs    []int32 `parquet:"ids,list" parquet-element:",delta"`
	Starts []int32 `parquet:"starts,list" parquet-element:",delta"` // empty: each token begins where the one before it ends, the first at 0
	Ends   []int32 `parquet:"ends,list" parquet-element:",delta"`
	Labels []int32 `parquet:"labels,list"` // empty: the ids
}

// DocWriter stages tokenized documents of one source.
type DocWriter struct {
	t            *table[stagedDoc]
	starts, ends []int32 // of the document being written
}

// CreateDocs begins a staged file of tokenized documents.
func CreateDocs(path string) (*DocWriter, error) {
	t, err := createTable[stagedDoc](path, stagedGroupTokens, parquet.PageBufferSize(stagedPageBytes))
	if err != nil {
		return nil, err
	}
	return &DocWriter{t: t}, nil
}

// Write adds a document, which has a span for each token. Its source and id are not stored.
func (w *DocWriter) Write(d *StagedDoc) error {
	n := len(d.Tokens)
	if len(d.Spans) != n || n > math.MaxInt32 || d.Labels != nil && len(d.Labels) != n {
		return fmt.Errorf("document %s: %d spans for %d tokens", d.ID, len(d.Spans), n)
	}
	w.starts, w.ends = slices.Grow(w.starts[:0], n)[:n], slices.Grow(w.ends[:0], n)[:n]
	gaps, at := false, int32(0)
	for i, s := range d.Spans {
		w.starts[i], w.ends[i] = s[0], s[1]
		gaps, at = gaps || s[0] != at, s[1]
	}
	if !gaps {
		w.starts = w.starts[:0]
	}
	row := stagedDoc{Index: d.Index, Hash: int64(d.Hash), Split: int64(d.Split), Length: int64(n), Key: d.Key, IDs: d.Tokens,
		Starts: w.starts, Ends: w.ends, Labels: d.Labels}
	return w.t.add(row, int64(n)+16)
}

// Close finishes the file and returns the rows of each row group.
func (w *DocWriter) Close() ([]int64, error) { return w.t.close() }

// Abort drops the file. After Close it does nothing.
func (w *DocWriter) Abort() { w.t.file.Abort() }

// DocRef is what the assignment to shards needs to know of a staged document.
type DocRef struct {
	Hash, Split   uint64
	Index, Length int64
}

// ReadDocRefs reads the references of a row group of staged documents, without their tokens; groups is the number of row groups.
func ReadDocRefs(path string, group int) (refs []DocRef, groups int, err error) {
	t, err := openTable(path)
	if err != nil {
		return nil, 0, err
	}
	defer t.r.Close()
	if groups = t.groups(); group >= groups {
		return nil, groups, nil
	}
	var cols [4][]int64
	for i, name := range []string{"hash", "split", "index", "length"} {
		if cols[i], err = columnOf(t, group, name, asInt64); err != nil {
			return nil, 0, err
		}
	}
	refs = make([]DocRef, len(cols[0]))
	for i := range refs {
		refs[i] = DocRef{Hash: uint64(cols[0][i]), Split: uint64(cols[1][i]), Index: cols[2][i], Length: cols[3][i]}
	}
	return refs, groups, nil
}

// ReadDocs reads the chosen rows, ascending, of a row group of staged documents of a source.
func ReadDocs(path, source string, group int, rows []int32) ([]StagedDoc, error) {
	t, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer t.r.Close()
	return t.docs(source, group, rows)
}

// docs reads the chosen rows of a row group as documents of a source.
func (t *tableFile) docs(source string, group int, rows []int32) (_ []StagedDoc, err error) {
	var cols [3][]int64
	for i, name := range []string{"index", "hash", "split"} {
		if cols[i], err = columnOf(t, group, name, asInt64); err != nil {
			return nil, err
		}
	}
	key, err := columnOf(t, group, "key", asString)
	if err != nil {
		return nil, err
	}
	out := make([]StagedDoc, len(rows))
	if len(rows) == 0 {
		return out, nil
	}
	span := rowRange{int64(rows[0]), int64(rows[len(rows)-1]) + 1}
	if span.from < 0 || span.to > int64(len(key)) {
		return nil, fmt.Errorf("staged file %s: there is no row %d in row group %d", t.path, rows[len(rows)-1], group)
	}
	var ls [4]lists[int32]
	for i, name := range []string{"ids", "starts", "ends", "labels"} {
		if ls[i], err = t.ints(group, name, span); err != nil {
			return nil, err
		}
	}
	own := slices.Clone[[]int32]
	if 2*int64(len(rows)) > span.to-span.from { // most of what was read is kept: it may stay where it is
		own = func(x []int32) []int32 { return x }
	}
	for k, row := range rows {
		r := int(row)
		ids, starts, ends := ls[0].row(r-int(span.from)), ls[1].row(r-int(span.from)), ls[2].row(r-int(span.from))
		if len(starts) != len(ids) && len(starts) > 0 || len(ends) != len(ids) {
			return nil, fmt.Errorf("staged file %s, row %d: %d tokens, %d starts, %d ends", t.path, r, len(ids), len(starts), len(ends))
		}
		d := &out[k]
		d.Index, d.Hash, d.Split = cols[0][r], uint64(cols[1][r]), uint64(cols[2][r])
		d.ID, d.Source, d.Key = DocID(source, d.Index), source, key[r]
		d.Tokens = own(ids)
		if labels := ls[3].row(r - int(span.from)); len(labels) > 0 {
			if len(labels) != len(ids) {
				return nil, fmt.Errorf("staged file %s, row %d: %d labels for %d tokens", t.path, r, len(labels), len(ids))
			}
			d.Labels = own(labels)
		}
		d.Spans = make([][2]int32, len(ids))
		at := int32(0)
		for i, end := range ends {
			if len(starts) > 0 {
				at = starts[i]
			}
			d.Spans[i], at = [2]int32{at, end}, end
		}
	}
	return out, nil
}
