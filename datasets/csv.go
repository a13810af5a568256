package datasets

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// csvReader reads comma-separated values (RFC 4180) with a header; a file whose header has tabs is read as tab-separated.
type csvReader struct {
	fileReader
	c      *csv.Reader
	header []string
}

func newCSVReader(base fileReader, path string) (Reader, error) {
	r := &csvReader{fileReader: base}
	if head, _ := base.lines.b.Peek(len(bom)); bytes.Equal(head, bom) {
		base.lines.b.Discard(len(bom))
	}
	head, _ := base.lines.b.Peek(4 << 10)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	r.c = csv.NewReader(base.lines.b)
	if bytes.Count(line, []byte("\t")) > bytes.Count(line, []byte(",")) {
		r.c.Comma = '\t'
		r.c.LazyQuotes = true
	}
	r.c.FieldsPerRecord = -1
	var err error
	if r.header, err = r.c.Read(); err != nil && !errors.Is(err, io.EOF) {
		if reason, _ := base.d.classify(err); reason != "" {
			return nil, &FileError{path, reason, err}
		}
		return nil, &FileError{path, ReasonCorruptFile, err}
	}
	return r, nil
}

// Layout implements Reader.
func (t *csvReader) Layout() (string, string) { return FormatCSV, t.kind }

// Next implements Reader.
func (t *csvReader) Next() (Record, *Reject, error) {
	if t.ended {
		return Record{}, nil, io.EOF
	}
	row, err := t.c.Read()
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		defer func() { t.index++ }()
		return Record{}, t.reject(ReasonWrongRow, err.Error(), "CSV", []byte(strings.Join(row, ","))), nil
	case err != nil:
		rej, err := t.fault(err, nil)
		return Record{}, rej, err
	}
	defer func() { t.index++ }()
	line := []byte(strings.Join(row, ","))
	if len(line) > t.o.MaxRecordBytes {
		return Record{}, t.tooLarge(int64(len(line)), line), nil
	}
	if where, bad := badUTF8(line); bad {
		return Record{}, t.reject(ReasonInvalidUTF8, where, "UTF-8", line), nil
	}
	if len(row) != len(t.header) {
		return Record{}, t.reject(ReasonWrongRow, fmt.Sprintf("%d fields", len(row)), fmt.Sprintf("%d fields", len(t.header)), line), nil
	}
	obj := make(map[string]json.RawMessage, len(row))
	for i, h := range t.header {
		obj[h] = encode(row[i])
	}
	rec, rej := t.row(obj, line)
	return rec, rej, nil
}
