package datasets

import (
	"encoding/json"
	"errors"
	"io"
)

// jsonReader reads the objects of one JSON array, one after another.
type jsonReader struct {
	fileReader
	d       *json.Decoder
	started bool
}

func newJSONReader(base fileReader) *jsonReader {
	r := &jsonReader{fileReader: base}
	r.d = json.NewDecoder(&capped{r: base.lines.b, r2: r})
	return r
}

// capped fails when one element is larger than a record may be.
type capped struct {
	r  io.Reader
	r2 *jsonReader
	n  int64 // read
}

var errElement = errors.New("an element is larger than a record may be")

// Read implements io.Reader.
func (c *capped) Read(p []byte) (int, error) {
	if c.r2.d != nil && c.n-c.r2.d.InputOffset() > int64(c.r2.o.MaxRecordBytes)+(1<<16) {
		return 0, errElement
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Layout implements Reader.
func (t *jsonReader) Layout() (string, string) { return t.layout(FormatJSON), t.kind }

// rest is the beginning of what could not be read.
func (t *jsonReader) rest() []byte {
	b, _ := io.ReadAll(io.LimitReader(t.d.Buffered(), MaxRejectRecord))
	return b
}

// Next implements Reader.
func (t *jsonReader) Next() (Record, *Reject, error) {
	if t.ended {
		return Record{}, nil, io.EOF
	}
	fail := func(err error) (Record, *Reject, error) {
		t.ended = true
		var syntax *json.SyntaxError
		switch {
		case errors.Is(err, errElement):
			return Record{}, t.reject(ReasonRecordTooLarge, err.Error(), itoa(t.o.MaxRecordBytes)+" bytes", t.rest()), nil
		case errors.As(err, &syntax):
			return Record{}, t.reject(ReasonMalformedJSON, err.Error(), "", t.rest()), nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && t.d != nil && t.fileReader.d.kind == plain:
			return Record{}, t.reject(ReasonTruncatedRecord, "the array does not end", "", t.rest()), nil
		}
		t.ended = false // so that fault tells it
		rej, err := t.fault(err, nil)
		t.ended = true
		return Record{}, rej, err
	}
	if !t.started {
		t.started = true
		tok, err := t.d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				t.ended = true
				return Record{}, nil, io.EOF
			}
			return fail(err)
		}
		if tok != json.Delim('[') {
			t.ended = true
			return Record{}, t.reject(ReasonMalformedJSON, "the file does not begin with [", "an array of objects", t.rest()), nil
		}
	}
	if !t.d.More() {
		if _, err := t.d.Token(); err != nil {
			return fail(err)
		}
		t.ended = true
		if _, err := t.d.Token(); err != nil && !errors.Is(err, io.EOF) {
			t.ended = false
			return fail(err)
		}
		return Record{}, nil, io.EOF
	}
	var raw json.RawMessage
	if err := t.d.Decode(&raw); err != nil {
		return fail(err)
	}
	defer func() { t.index++ }()
	if where, bad := badUTF8(raw); bad {
		return Record{}, t.reject(ReasonInvalidUTF8, where, "UTF-8", raw), nil
	}
	if len(raw) > t.o.MaxRecordBytes {
		return Record{}, t.tooLarge(int64(len(raw)), raw), nil
	}
	var obj map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &obj) != nil {
		return Record{}, t.reject(ReasonNotAnObject, string(raw[:min(len(raw), 20)]), "an object", raw), nil
	}
	rec, rej := t.row(obj, raw)
	return rec, rej, nil
}
