package datasets

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

func itoa(i int) string { return strconv.Itoa(i) }

// isSystem reports whether an error is the operating system's rather than the content's.
func isSystem(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe)
}

// jsonlReader reads one JSON object a line. Names match exactly, the last of equal names wins, blank lines are no records.
type jsonlReader struct{ fileReader }

// Layout implements Reader.
func (t *jsonlReader) Layout() (string, string) { return FormatJSONL, t.kind }

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
	if !json.Valid(line) {
		return Record{}, t.malformed(line)
	}
	if b := bytes.TrimLeft(line, " \t\r\n"); b[0] != '{' {
		return Record{}, t.reject(ReasonNotAnObject, string(b[:min(len(b), 20)]), "an object", line)
	}
	// The line is valid: gjson, which checks nothing, cuts it in one pass, where encoding/json would check it twice more.
	obj := map[string]json.RawMessage{}
	gjson.ParseBytes(line).ForEach(func(key, value gjson.Result) bool {
		obj[key.String()] = json.RawMessage(value.Raw)
		return true
	})
	return t.row(obj, line)
}

// row makes a record of an object.
func (r *fileReader) row(obj map[string]json.RawMessage, line []byte) (Record, *Reject) {
	if r.kind == "" {
		r.kind = r.o.kindOf(obj)
	}
	if r.kind == RowClassification {
		rec, reason, what := r.o.classRow(obj)
		if reason != "" {
			return Record{}, r.reject(reason, what, r.kind, line)
		}
		rec.Source, rec.Index = r.source, r.index
		r.extra(obj, &rec)
		return rec, nil
	}
	if r.kind != RowPlain {
		rec, what := r.o.rowOf(r.kind, obj)
		if what == undesirable {
			return Record{}, r.reject(ReasonUndesirable, what, "label: true", line)
		}
		if what != "" {
			return Record{}, r.reject(ReasonWrongRow, what, r.kind, line)
		}
		rec.Source, rec.Index = r.source, r.index
		r.extra(obj, &rec)
		return rec, nil
	}
	raw, ok := obj[r.o.TextColumn]
	if !ok {
		return Record{}, r.reject(ReasonMissingText, "fields: "+strings.Join(slices.Sorted(maps.Keys(obj)), ", "), r.o.TextColumn, line)
	}
	text, reason := jsonString(raw)
	switch {
	case reason != "":
		return Record{}, r.reject(reason, string(raw[:min(len(raw), 40)]), "a string", line)
	case text == "":
		return Record{}, r.reject(ReasonEmptyText, "", "", line)
	}
	rec := Record{Source: r.source, Index: r.index, Text: text}
	r.extra(obj, &rec)
	return rec, nil
}

// extra adds the address and the key.
func (r *fileReader) extra(obj map[string]json.RawMessage, rec *Record) {
	if u, reason := jsonString(obj["url"]); reason == "" {
		rec.URL = u
	}
	if r.o.KeyColumn != "" {
		if s, reason := jsonString(obj[r.o.KeyColumn]); reason == "" {
			rec.Key = s
		} else if raw := obj[r.o.KeyColumn]; string(raw) != "null" {
			rec.Key = string(raw)
		}
	}
}

// malformed rejects a line that is no JSON, saying what is wrong.
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
	s := gjson.ParseBytes(raw).String() // all that comes here has been checked
	if strings.ContainsRune(s, utf8.RuneError) && loneSurrogate(raw) {
		return "", ReasonInvalidUTF8
	}
	return s, ""
}

// loneSurrogate looks for \uD800-\uDFFF escapes that are not in a pair.
func loneSurrogate(raw []byte) bool {
	unit := func(i int) (uint64, bool) {
		if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
			return 0, false
		}
		v, err := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
		return v, err == nil
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		v, ok := unit(i)
		switch {
		case !ok:
			i++ // an escape of two bytes
		case v >= 0xd800 && v < 0xdc00:
			if w, ok := unit(i + 6); !ok || w < 0xdc00 || w > 0xdfff {
				return true
			}
			i += 11
		case v >= 0xdc00 && v < 0xe000:
			return true
		default:
			i += 5
		}
	}
	return false
}
