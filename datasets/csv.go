package datasets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// csvReader reads rows under a header: comma-separated values, whose fields may be quoted as Python's csv module takes them, or
// tab-separated ones (text/tab-separated-values), in which a quotation mark is a character like any other.
type csvReader struct {
	fileReader
	s      *fieldScanner
	format string
	header []string
}

func newCSVReader(base fileReader, format string) Reader {
	r := &csvReader{fileReader: base, format: format}
	b := base.lines.b
	head, _ := b.Peek(sniffBytes)
	r.s = &fieldScanner{b: b, comma: delimiterOf(base.o.Delimiter), max: base.o.MaxRecordBytes, end: '\n'}
	if bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0 {
		r.s.end = '\r' // the lines of old Macs
	}
	if line, rest, ok := bytes.Cut(head, []byte("\n")); ok && len(bytes.TrimRight(line, "\r")) == 5 &&
		bytes.HasPrefix(line, []byte("sep=")) {
		b.Discard(len(line) + 1) // Excel's own line that names the delimiter
		r.s.line++
		if r.s.comma == 0 {
			r.s.comma, _ = utf8.DecodeRune(line[4:])
		}
		head = rest
	}
	if format == FormatTSV && quotedHeader(head) {
		r.format = FormatCSV // values under a quoted header are quoted too
		if r.s.comma == 0 {
			r.s.comma = '\t'
		}
	}
	r.s.quoted = r.format == FormatCSV
	switch {
	case r.s.comma != 0:
	case r.format == FormatTSV:
		r.s.comma = '\t'
	default:
		r.s.comma = sniffDelimiter(head)
	}
	return r
}

// delimiters are those that the header is searched for; of equally frequent ones the first is taken.
const delimiters = ",\t;|"

// delimiterOf is the delimiter that a setting names, 0 for the one to be found.
func delimiterOf(s string) rune {
	switch s {
	case "":
		return 0
	case `\t`, "tab":
		return '\t'
	}
	r, n := utf8.DecodeRuneInString(s)
	if n != len(s) || r == utf8.RuneError || r == '"' || r == '\n' || r == '\r' || r == 0 {
		return utf8.RuneError
	}
	return r
}

// sniffDelimiter finds the delimiter that the header has most of outside quotation marks. Of equally frequent ones it is the one of which
// the line after the header has as many.
func sniffDelimiter(head []byte) rune {
	first, rest := cutRecord(head)
	second, _ := cutRecord(rest)
	best, most := ',', 0
	for _, c := range delimiters {
		n := countOutside(first, byte(c))
		if n > most || n == most && n > 0 && countOutside(second, byte(c)) == n && countOutside(second, byte(best)) != n {
			best, most = c, n
		}
	}
	return best
}

// cutRecord cuts off the first line that is not inside quotation marks.
func cutRecord(b []byte) (record, rest []byte) {
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '\n' || c == '\r'):
			return b[:i], bytes.TrimLeft(b[i:], "\r\n")
		}
	}
	if i := bytes.IndexAny(b, "\r\n"); i >= 0 { // a quotation mark that is not a field's
		return b[:i], bytes.TrimLeft(b[i:], "\r\n")
	}
	return b, nil
}

func countOutside(line []byte, c byte) (n int) {
	quoted := false
	for _, x := range line {
		if x == '"' {
			quoted = !quoted
		} else if x == c && !quoted {
			n++
		}
	}
	return n
}

// quotedHeader reports whether every field of a tab-separated header is in quotation marks.
func quotedHeader(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	for _, f := range bytes.Split(bytes.TrimRight(line, "\r"), []byte("\t")) {
		if len(f) < 2 || f[0] != '"' || f[len(f)-1] != '"' {
			return false
		}
	}
	return true
}

// Layout implements Reader.
func (t *csvReader) Layout() (string, string) {
	format := t.format
	if usual := map[string]rune{FormatCSV: ',', FormatTSV: '\t'}[t.format]; t.s.comma != usual {
		format += fmt.Sprintf(" with delimiter %q", t.s.comma)
	}
	return t.layout(format), t.kind
}

// readHeader reads the names of the columns. A name that stands twice gets a number, as pandas gives it, so that no column hides another.
func (t *csvReader) readHeader() error {
	if err := t.s.next(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, f := range t.s.fields {
		name := string(f)
		if name == "" {
			name = fmt.Sprintf("Unnamed: %d", i)
		}
		for k := 1; seen[name]; k++ {
			name = fmt.Sprintf("%s.%d", f, k)
		}
		seen[name] = true
		t.header = append(t.header, name)
	}
	return nil
}

// Next implements Reader.
func (t *csvReader) Next() (Record, *Reject, error) {
	if t.ended {
		return Record{}, nil, io.EOF
	}
	if t.header == nil {
		err := t.readHeader()
		switch {
		case err != nil:
			rej, err := t.fault(err, t.s.raw)
			return Record{}, rej, err
		case t.s.fault != "" || t.s.size > int64(t.o.MaxRecordBytes):
			t.ended = true
			return Record{}, t.reject(ReasonWrongRow, fmt.Sprintf("the header (line %d) cannot be read: %s", t.s.begin, t.s.fault),
				"names of columns", t.s.raw), nil
		}
		if where, bad := badUTF8(t.s.raw); bad {
			t.ended = true
			return Record{}, t.reject(ReasonInvalidUTF8, "header: "+where, "UTF-8", t.s.raw), nil
		}
	}
	err := t.s.next()
	if err != nil {
		rej, err := t.fault(err, t.s.raw)
		return Record{}, rej, err
	}
	defer func() { t.index++ }()
	raw := t.s.raw
	line := func() string { return fmt.Sprintf("line %d: ", t.s.begin) }
	switch {
	case t.s.size > int64(t.o.MaxRecordBytes):
		rej := t.tooLarge(t.s.size, raw)
		rej.Value = strings.TrimSuffix(line()+t.s.fault, ": ") + ": " + rej.Value
		return Record{}, rej, nil
	case t.s.fault != "":
		return Record{}, t.reject(ReasonWrongRow, line()+t.s.fault, t.format, raw), nil
	}
	if where, bad := badUTF8(raw); bad {
		return Record{}, t.reject(ReasonInvalidUTF8, line()+where, "UTF-8", raw), nil
	}
	if n := len(t.s.fields); n != len(t.header) {
		return Record{}, t.reject(ReasonWrongRow, fmt.Sprintf("%s%d fields", line(), n), fmt.Sprintf("%d fields", len(t.header)), raw), nil
	}
	obj := make(map[string]json.RawMessage, len(t.header))
	quoted := false
	for i, h := range t.header {
		if f := t.s.fields[i]; t.format == FormatTSV && len(f) > 1 && f[0] == '"' && f[len(f)-1] == '"' {
			quoted = true
		}
		q, err := jsontext.AppendQuote(nil, t.s.fields[i])
		if err != nil {
			q = encode(string(t.s.fields[i]))
		}
		obj[h] = q
	}
	rec, rej := t.row(obj, raw)
	if quoted && rej == nil {
		t.tally.note(NoteQuotedTSV)
	}
	return rec, rej, nil
}
