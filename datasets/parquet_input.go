package datasets

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// parquetReader reads the text column, and the key column when asked, page by page.
type parquetReader struct {
	file      storage.ReaderAt
	f         *parquet.File
	source    string
	o         Options
	text, key *parquet.Column
	group     int // the next row group, and end the one behind the last
	end       int
	left      int64 // rows left in the open row group
	texts     *cursor
	keys      *cursor
	index     int64
	kept      int64
	ended     bool
}

// cursor walks the values of a column in a row group.
type cursor struct {
	r   parquet.ColumnChunkValueReader
	buf [64]parquet.Value
	at  int
	n   int
}

func (c *cursor) next() (v parquet.Value, err error) {
	defer guard(&err)
	if c.at == c.n {
		for c.at, c.n = 0, 0; c.n == 0; {
			if c.n, err = c.r.ReadValues(c.buf[:]); c.n == 0 && err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return v, err
			}
		}
	}
	c.at++
	return c.buf[c.at-1], nil
}

func (c *cursor) close() {
	if c != nil {
		c.r.Close()
	}
}

func openParquetInput(path, source string, f storage.ReaderAt, o Options) (Reader, error) {
	pf, err := openParquet(f)
	if err != nil {
		reason := ReasonCorruptFile
		tail := make([]byte, 4)
		if _, terr := f.ReadAt(tail, max(0, f.Size()-4)); terr != nil || string(tail) != "PAR1" {
			reason = ReasonTruncatedFile
		}
		return nil, &FileError{path, reason, err}
	}
	if o.rowsOf(pf) || len(o.Where) > 0 {
		r, err := openParquetRows(pf, f, source, o)
		if err != nil {
			return nil, &FileError{path, ReasonCorruptFile, err}
		}
		return r, nil
	}
	column := func(name, setting string) (*parquet.Column, error) {
		c := pf.Root().Column(name)
		switch {
		case c == nil:
			return nil, fmt.Errorf("%s: there is no column %q; the columns are %s. Name the one to use with %s", path, name,
				columnNames(pf), setting)
		case !c.Leaf() || c.Repeated() || c.Type().Kind() != parquet.ByteArray:
			return nil, fmt.Errorf("%s: column %q is %s, a column of strings is wanted; the columns are %s. Name the one to use with %s",
				path, name, describe(c), columnNames(pf), setting)
		}
		return c, nil
	}
	r := &parquetReader{file: f, f: pf, source: source, o: o, end: len(pf.RowGroups())}
	if r.text, err = column(o.TextColumn, "text_column"); err != nil {
		return nil, err
	}
	if o.KeyColumn != "" {
		if r.key, err = column(o.KeyColumn, "key_column"); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func describe(c *parquet.Column) string {
	if !c.Leaf() {
		return "nested"
	}
	return c.Type().String()
}

// Close closes the file.
func (r *parquetReader) Close() error {
	r.texts.close()
	r.keys.close()
	r.texts, r.keys = nil, nil
	return r.file.Close()
}

// Tally implements Reader: of a column that is not read it is not known which rows hold something.
func (r *parquetReader) Tally() (t Tally) {
	for _, c := range r.f.Root().Columns() {
		if name := c.Name(); r.kept > 0 && name != r.o.TextColumn && name != r.o.KeyColumn {
			count(&t.Unused, name, r.kept)
		}
	}
	return t
}

// Layout implements Reader.
func (r *parquetReader) Layout() (string, string) { return FormatParquet, RowPlain }

func (r *parquetReader) advance() (err error) {
	defer guard(&err)
	for r.left == 0 {
		if r.group == r.end {
			return io.EOF
		}
		r.texts.close()
		r.keys.close()
		rg := r.f.RowGroups()[r.group]
		r.group++
		r.left = rg.NumRows()
		r.texts = &cursor{r: parquet.NewColumnChunkValueReader(rg.ColumnChunks()[r.text.Index()])}
		if r.key != nil {
			r.keys = &cursor{r: parquet.NewColumnChunkValueReader(rg.ColumnChunks()[r.key.Index()])}
		}
	}
	return nil
}

// Next implements Reader.
func (r *parquetReader) Next() (Record, *Reject, error) {
	if r.ended {
		return Record{}, nil, io.EOF
	}
	var v, k parquet.Value
	err := r.advance()
	if errors.Is(err, io.EOF) {
		return Record{}, nil, io.EOF
	}
	if err == nil {
		v, err = r.texts.next()
	}
	if err == nil && r.key != nil {
		k, err = r.keys.next()
	}
	rej := func(reason, value, threshold string, b []byte) *Reject {
		return &Reject{Source: r.source, Index: r.index, Reason: reason, Value: value, Threshold: threshold, Record: truncate(b)}
	}
	if err != nil {
		if isSystem(err) {
			return Record{}, nil, fmt.Errorf("%s: %w", r.source, err)
		}
		r.ended = true
		reason := ReasonCorruptFile
		if errors.Is(err, io.ErrUnexpectedEOF) {
			reason = ReasonTruncatedFile
		}
		return Record{}, rej(reason, err.Error(), "", nil), nil
	}
	r.left--
	defer func() { r.index++ }()
	if v.IsNull() {
		return Record{}, rej(ReasonNullText, "null", "a string", nil), nil
	}
	b := v.ByteArray()
	switch {
	case len(b) == 0:
		return Record{}, rej(ReasonEmptyText, "", "", nil), nil
	case len(b) > r.o.MaxRecordBytes:
		return Record{}, rej(ReasonRecordTooLarge, fmt.Sprintf("%d bytes", len(b)), fmt.Sprintf("%d bytes", r.o.MaxRecordBytes), b), nil
	case !utf8.Valid(b):
		where, _ := badUTF8(b)
		return Record{}, rej(ReasonInvalidUTF8, where, "UTF-8", b), nil
	}
	rec := Record{Source: r.source, Index: r.index, Text: string(b)}
	if r.key != nil && !k.IsNull() {
		rec.Key = string(k.ByteArray())
	}
	r.kept++
	return rec, nil, nil
}
