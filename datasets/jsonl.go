package datasets

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

func itoa(i int) string { return strconv.Itoa(i) }

// isSystem reports whether an error is the operating system's rather than the content's.
func isSystem(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe)
}

// jsonlReader reads one JSON object a line. Names match exactly, the last of equal names wins, blank lines are not records.
type jsonlReader struct {
	fileReader
	json *jsontext.Decoder // of text, the line
	text bytes.Buffer
}

// Layout implements Reader.
func (t *jsonlReader) Layout() (string, string) { return t.layout(FormatJSONL), t.kind }

func (t *jsonlReader) Next() (Record, *Reject, error) {
	for ; ; t.index++ {
		line, size, err := t.lines.next()
		if err != nil {
			rej, err := t.fault(err, line)
			return Record{}, rej, err
		}
		if size <= int64(t.o.MaxRecordBytes) && blank(line) {
			continue
		}
		rec, rej := t.parse(line, size)
		t.index++
		return rec, rej, nil
	}
}

func (t *jsonlReader) parse(line []byte, size int64) (Record, *Reject) {
	if size > int64(t.o.MaxRecordBytes) {
		return Record{}, t.tooLarge(size, line)
	}
	if where, bad := badUTF8(line); bad {
		return Record{}, t.reject(ReasonInvalidUTF8, where, "UTF-8", line)
	}
	obj, ok := t.members(line)
	if !ok {
		obj = nil
		switch {
		case !json.Valid(line):
			return Record{}, t.malformed(line)
		case json.Unmarshal(line, &obj) != nil || obj == nil:
			b := bytes.TrimLeft(line, " \t\r\n")
			return Record{}, t.reject(ReasonNotAnObject, string(b[:min(len(b), 20)]), "an object", line)
		}
	}
	return t.row(obj, line)
}

// members cuts a line that is one JSON object into its members, checking it on the way: a quarter of the time of encoding/json's check
// alone. The values lie in the line.
func (t *jsonlReader) members(line []byte) (map[string]json.RawMessage, bool) {
	t.text = *bytes.NewBuffer(line)
	if t.json == nil {
		t.json = jsontext.NewDecoder(&t.text, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	} else {
		t.json.Reset(&t.text, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	}
	if tok, err := t.json.ReadToken(); err != nil || tok.Kind() != jsontext.KindBeginObject {
		return nil, false
	}
	obj := map[string]json.RawMessage{}
	for {
		name, err := t.json.ReadToken()
		if err != nil {
			return nil, false
		}
		if name.Kind() == jsontext.KindEndObject {
			break
		}
		key := name.String()
		v, err := t.json.ReadValue()
		if err != nil {
			return nil, false
		}
		end := int(t.json.InputOffset())
		obj[key] = json.RawMessage(line[end-len(v) : end : end])
	}
	_, err := t.json.ReadToken()
	return obj, errors.Is(err, io.EOF)
}

// row makes a record of an object.
func (r *fileReader) row(obj map[string]json.RawMessage, line []byte) (Record, *Reject) {
	if r.kind == "" {
		r.kind = r.o.kindOf(obj)
	}
	if r.used == nil {
		r.used = map[string]bool{}
	}
	clear(r.used)
	if len(r.o.Where) > 0 {
		if r.where == nil {
			r.where, _ = r.o.conditions() // which were checked with the options
		}
		for _, tests := range r.where.tests {
			for _, t := range tests {
				r.used[t.path[0]] = true
			}
		}
		if rej := r.where.unmet(r, obj, line); rej != nil {
			return Record{}, rej
		}
	}
	var (
		rec    Record
		tally  Tally
		reason string
		value  string
		want   = r.kind
	)
	switch r.kind {
	case RowPlain:
		rec, reason, value, want = r.o.plainRow(obj, r.used)
	case RowClassification:
		rec, reason, value = r.o.classRow(obj, r.used)
	default:
		if rec, reason, value = r.o.rowOf(r.kind, obj, r.used, &tally); reason == ReasonUndesirable {
			want = "label: true"
		}
	}
	if key := obj[r.o.KeyColumn]; reason == "" && r.o.KeyColumn != "" && len(key) > 0 && (key[0] == '{' || key[0] == '[') {
		reason, value = ReasonWrongRow, r.o.KeyColumn+": a key is one value"
	}
	if reason != "" {
		return Record{}, r.reject(reason, value, want, line)
	}
	rec.Source, rec.Index = r.source, r.index
	r.extra(obj, &rec)
	tally.fields(obj, r.used, "")
	r.tally.Add(tally)
	return rec, nil
}

// plainRow reads a text.
func (o *Options) plainRow(obj map[string]json.RawMessage, used map[string]bool) (rec Record, reason, value, want string) {
	used[o.TextColumn] = true
	raw, ok := obj[o.TextColumn]
	if !ok {
		return rec, ReasonMissingText, "fields: " + strings.Join(slices.Sorted(maps.Keys(obj)), ", "), o.TextColumn
	}
	text, reason := jsonString(raw)
	switch {
	case reason != "":
		return rec, reason, string(raw[:min(len(raw), 40)]), "a string"
	case text == "":
		return rec, ReasonEmptyText, "", ""
	}
	return Record{Text: text}, "", "", ""
}

// extra adds the address and the key.
func (r *fileReader) extra(obj map[string]json.RawMessage, rec *Record) {
	if u, reason := jsonString(obj["url"]); reason == "" {
		rec.URL = u
		r.used["url"] = true
	}
	if r.o.KeyColumn != "" {
		r.used[r.o.KeyColumn] = true
		if s, reason := jsonString(obj[r.o.KeyColumn]); reason == "" {
			rec.Key = s
		} else if raw := obj[r.o.KeyColumn]; !absent(raw) {
			rec.Key = string(raw)
		}
	}
}

// malformed rejects a line that is not JSON, saying what is wrong.
func (t *jsonlReader) malformed(line []byte) *Reject {
	var v json.RawMessage
	err := json.Unmarshal(line, &v)
	reason, value := ReasonMalformedJSON, ""
	if err != nil {
		value = err.Error()
		if strings.Contains(value, "unexpected end") {
			reason = ReasonTruncatedRecord
		}
	}
	return t.reject(reason, value, "", line)
}

// jsonString decodes a JSON string; the reason says why it is not one. An escaped surrogate without its other half has no meaning as text.
func jsonString(raw json.RawMessage) (string, string) {
	switch {
	case len(raw) == 0:
		return "", ReasonMissingText
	case string(raw) == "null":
		return "", ReasonNullText
	case raw[0] != '"':
		return "", ReasonTextNotAString
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), "" // all that comes here has been checked
	}
	s, err := jsontext.AppendUnquote([]byte(nil), raw)
	if err != nil {
		return "", ReasonInvalidUTF8
	}
	return unsafe.String(unsafe.SliceData(s), len(s)), "" // nobody else has s
}
