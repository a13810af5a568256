package datasets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// parquetRows reads rows of several columns, nested ones too, such as messages as list<struct<role, content>>, as a row of JSONL of the
// same fields is read.
type parquetRows struct {
	fileReader
	f      *parquet.File
	r      *parquet.GenericReader[any]
	rows   int64  // the position behind the last
	leaves []leaf // in the order of a row's values
}

// leaf is a column that has values: its path, and what they are.
type leaf struct {
	name string
	kind parquet.Kind
}

// checkRow says whether a row has values of every column, each of the column's type. Of a damaged page the library hands over fewer values
// than its levels have, and those of the next column then stand where text is read, with a length and no bytes.
func checkRow(row parquet.Row, leaves []leaf) error {
	at := -1
	for _, v := range row {
		switch c := v.Column(); {
		case c == at: // a further value of a list
		case c >= len(leaves) || c < at:
			return fmt.Errorf("a value of column %d behind those of column %d of %d", c, at, len(leaves))
		case c != at+1:
			return fmt.Errorf("a row without values of column %s", leaves[at+1].name)
		default:
			at = c
		}
		if !v.IsNull() && v.Kind() != leaves[at].kind {
			return fmt.Errorf("a value of type %s in column %s, which is of %s", v.Kind(), leaves[at].name, leaves[at].kind)
		}
	}
	if at != len(leaves)-1 {
		return fmt.Errorf("a row without values of column %s", leaves[at+1].name)
	}
	return nil
}

// rowsOf says whether the columns of a file are the fields of a row of several fields, by the settings or by their names.
func (o *Options) rowsOf(f *parquet.File) bool {
	names := map[string]json.RawMessage{}
	for _, c := range f.Root().Columns() {
		names[c.Name()] = nil
	}
	return o.kindOf(names) != RowPlain
}

func openParquetRows(f *parquet.File, file storage.ReaderAt, source string, o Options) (_ Reader, err error) {
	defer guard(&err)
	r := &parquetRows{fileReader: fileReader{file: file, source: source, o: o}, f: f, r: parquet.NewGenericReader[any](f)}
	r.rows = r.r.NumRows()
	for _, path := range f.Schema().Columns() {
		c, _ := f.Schema().Lookup(path...)
		r.leaves = append(r.leaves, leaf{strings.Join(path, "."), c.Node.Type().Kind()})
	}
	return r, nil
}

// Layout implements Reader.
func (r *parquetRows) Layout() (string, string) { return FormatParquet, r.kind }

// Close closes the file.
func (r *parquetRows) Close() error {
	return errors.Join(func() (err error) { defer guard(&err); return r.r.Close() }(), r.file.Close())
}

// errManyValues is of a row whose lists are longer than any text of a row has them.
var errManyValues = errors.New("too many values")

func (r *parquetRows) read() (row map[string]any, err error) {
	defer guard(&err)
	var values [1]parquet.Row
	if n, err := r.r.ReadRows(values[:]); n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return nil, err
	}
	if n := len(values[0]); n > valuesPerRow {
		return nil, fmt.Errorf("%d %w", n, errManyValues)
	}
	if err := checkRow(values[0], r.leaves); err != nil {
		return nil, err
	}
	var v any
	if err := r.r.Schema().Reconstruct(&v, values[0]); err != nil {
		return nil, err
	}
	row, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a row of type %T", v)
	}
	return row, nil
}

// Next implements Reader.
func (r *parquetRows) Next() (Record, *Reject, error) {
	if r.ended {
		return Record{}, nil, io.EOF
	}
	row, err := r.read()
	switch {
	case errors.Is(err, io.EOF):
		r.ended = true
		if r.index < r.rows {
			return Record{}, r.reject(ReasonTruncatedFile, fmt.Sprintf("%d rows", r.index), fmt.Sprintf("%d rows", r.rows), nil), nil
		}
		return Record{}, nil, io.EOF
	case errors.Is(err, errManyValues):
		defer func() { r.index++ }()
		return Record{}, r.reject(ReasonRecordTooLarge, err.Error(), fmt.Sprintf("%d values", valuesPerRow), nil), nil
	case err != nil && isSystem(err):
		return Record{}, nil, fmt.Errorf("%s: %w", r.source, err)
	case err != nil:
		r.ended = true
		reason := ReasonCorruptFile
		if errors.Is(err, io.ErrUnexpectedEOF) {
			reason = ReasonTruncatedFile
		}
		return Record{}, r.reject(reason, err.Error(), "", nil), nil
	}
	defer func() { r.index++ }()
	obj, bad := map[string]json.RawMessage{}, ""
	for name, v := range row {
		plain := plainValue(v, &bad)
		if bad != "" {
			return Record{}, r.reject(ReasonInvalidUTF8, "column "+name, "UTF-8", []byte(bad)), nil
		}
		b, err := json.Marshal(plain)
		if err != nil { // a number that JSON has no form of
			b = encode(fmt.Sprint(plain))
		}
		obj[name] = b
	}
	line := encode(obj)
	if len(line) > r.o.MaxRecordBytes {
		return Record{}, r.tooLarge(int64(len(line)), line), nil
	}
	rec, rej := r.row(obj, line)
	return rec, rej, nil
}

// plainValue makes what JSON has of a value: bytes are text, the levels of a list that Parquet adds are taken out, and null fields of a
// struct are left out. bad takes a text that is not UTF-8.
func plainValue(v any, bad *string) any {
	switch v := v.(type) {
	case []byte:
		return plainValue(string(v), bad)
	case string:
		if !utf8.ValidString(v) {
			*bad = v
		}
		return v
	case []any:
		for i := range v {
			v[i] = plainValue(v[i], bad)
		}
		return v
	case map[string]any:
		if list, ok := v["list"].([]any); ok && len(v) == 1 {
			out := make([]any, len(list))
			for i, e := range list {
				if m, ok := e.(map[string]any); ok && len(m) == 1 {
					for _, only := range m { // named element, item or array_element by who wrote it
						e = only
					}
				}
				out[i] = plainValue(e, bad)
			}
			return out
		}
		for k, x := range v {
			if x == nil {
				delete(v, k)
				continue
			}
			v[k] = plainValue(x, bad)
		}
		return v
	}
	return v
}
