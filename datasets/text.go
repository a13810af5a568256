package datasets

import (
	"bytes"
	"cmp"
	"io"
	"unicode/utf8"
)

// badUTF8 says where text stops being UTF-8.
func badUTF8(b []byte) (string, bool) {
	if utf8.Valid(b) {
		return "", false
	}
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			const digits = "0123456789abcdef"
			return "byte 0x" + string([]byte{digits[b[i]>>4], digits[b[i]&15]}) + " at " + itoa(i), true
		}
		i += n
	}
	return "", false
}

// text makes a record of bytes, or rejects them.
func (r *fileReader) text(b []byte) (Record, *Reject, error) {
	if where, bad := badUTF8(b); bad {
		return Record{}, r.reject(ReasonInvalidUTF8, where, "UTF-8", b), nil
	}
	return Record{Source: r.source, Index: r.index, Text: string(b)}, nil, nil
}

// Layout implements Reader.
func (r *fileReader) Layout() (string, string) { return r.layout(FormatText), RowPlain }

// textLines makes a document of each line that is not blank.
type textLines struct{ fileReader }

func (t *textLines) Next() (Record, *Reject, error) {
	for ; ; t.index++ {
		line, size, err := t.lines.next()
		if err != nil {
			rej, err := t.fault(err, line)
			return Record{}, rej, err
		}
		if size > int64(t.o.MaxRecordBytes) {
			rej := t.tooLarge(size, line)
			t.index++
			return Record{}, rej, nil
		}
		if blank(line) {
			continue
		}
		rec, rej, err := t.text(line)
		t.index++
		return rec, rej, err
	}
}

// textParagraphs makes a document of each run of lines between blank ones.
type textParagraphs struct {
	fileReader
	buf  []byte
	fail error // how reading ended, returned after the last paragraph
}

func (t *textParagraphs) Next() (Record, *Reject, error) {
	t.buf = t.buf[:0]
	size := int64(0)
	for t.fail == nil {
		line, n, err := t.lines.next()
		if err != nil {
			if err != io.EOF {
				// What is cut off belongs to the rejection, the paragraph so far too.
				rej, ferr := t.fault(err, append(t.buf, line...))
				t.fail = io.EOF
				if ferr != nil {
					t.fail = ferr
				}
				return Record{}, rej, ferr
			}
			t.fail = err
			break
		}
		if blank(line) && n <= int64(t.o.MaxRecordBytes) {
			if size > 0 {
				break
			}
			continue
		}
		if size > 0 {
			size++
			if len(t.buf) <= t.o.MaxRecordBytes {
				t.buf = append(t.buf, '\n')
			}
		}
		size += n
		if room := t.o.MaxRecordBytes + 1 - len(t.buf); room > 0 {
			t.buf = append(t.buf, line[:min(room, len(line))]...)
		}
	}
	if size == 0 {
		return Record{}, nil, t.fail
	}
	defer func() { t.index++ }()
	if size > int64(t.o.MaxRecordBytes) {
		return Record{}, t.tooLarge(size, t.buf), nil
	}
	return t.text(t.buf)
}

// textFile makes one document of the whole file.
type textFile struct {
	fileReader
	format string // FormatHTML of a page, FormatMarkdown, else ""
	done   bool
}

// Layout implements Reader.
func (t *textFile) Layout() (string, string) {
	return t.layout(cmp.Or(t.format, FormatText)), RowPlain
}

func (t *textFile) Next() (Record, *Reject, error) {
	if t.done {
		return Record{}, nil, io.EOF
	}
	t.done = true
	b, err := io.ReadAll(io.LimitReader(t.lines.b, int64(t.o.MaxRecordBytes)))
	if err != nil {
		rej, err := t.fault(err, b)
		return Record{}, rej, err
	}
	// One byte more tells a file of the greatest size from a larger one; reading it also reaches the checksum at the end.
	n, err := io.CopyN(io.Discard, t.lines.b, 1)
	if err != nil && err != io.EOF {
		rej, err := t.fault(err, b)
		return Record{}, rej, err
	}
	if n > 0 || len(b) > t.o.MaxRecordBytes {
		rej := t.tooLarge(int64(len(b))+n, b)
		rej.Value = "more than " + itoa(t.o.MaxRecordBytes) + " bytes"
		return Record{}, rej, nil
	}
	if blank(b) {
		return Record{}, t.reject(ReasonEmptyText, "", "", nil), nil
	}
	if t.format == FormatMarkdown {
		if b = bytes.TrimLeft(b[frontMatter(string(b)):], "\r\n"); blank(b) {
			return Record{}, t.reject(ReasonEmptyText, "front matter alone", "", nil), nil
		}
	}
	return t.text(b)
}
