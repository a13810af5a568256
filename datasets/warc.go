package datasets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// warcReader reads a web archive (ISO 28500, WARC/0.18 to 1.1), compressed as a whole or record by record. Documents are the pages of
// responses of status 200 and of resources, HTML or plain text, and the texts of conversions, as WET files have them. Requests, metadata,
// redirects, errors and images are passed over, and noted. The index of a document is the number of its record in the file, whatever the
// types of those before it.
type warcReader struct {
	fileReader
	at int64 // of what has been read, decompressed
}

// Of what a record may have before its block.
const (
	warcLine    = 64 << 10 // bytes of a line
	warcHeaders = 1 << 20  // bytes of all
)

// warcFault is a record that is not as the standard says; nothing behind it can be found.
type warcFault struct {
	reason, what string
}

func (e *warcFault) Error() string { return e.what }

// Layout implements Reader.
func (t *warcReader) Layout() (string, string) { return FormatWARC, RowPlain }

// Next implements Reader.
func (t *warcReader) Next() (Record, *Reject, error) {
	for !t.ended {
		start := t.at
		rec, rej, err := t.record()
		var fault *warcFault
		switch {
		case errors.Is(err, io.EOF):
			t.ended = true
			return Record{}, nil, io.EOF
		case errors.As(err, &fault):
			t.ended = true
			return Record{}, t.reject(fault.reason, fmt.Sprintf("record %d at byte %d: %s", t.index, start, fault.what), "WARC", nil), nil
		case errors.Is(err, io.ErrUnexpectedEOF) && t.d.kind == plain:
			t.ended = true
			return Record{}, t.reject(ReasonTruncatedFile, fmt.Sprintf("record %d at byte %d: the file ends inside it, at byte %d", t.index,
				start, t.at), "WARC", nil), nil
		case err != nil:
			rej, err := t.fault(err, nil)
			if rej != nil {
				rej.Value = fmt.Sprintf("record %d at byte %d: %s", t.index, start, rej.Value)
			}
			return Record{}, rej, err
		}
		t.index++
		if rej != nil {
			return Record{}, rej, nil
		}
		if rec != nil {
			return *rec, nil, nil
		}
	}
	return Record{}, nil, io.EOF
}

// record reads one record: nil of one that is not a document.
func (t *warcReader) record() (*Record, *Reject, error) {
	line, err := t.line()
	for err == nil && line == "" { // between records
		line, err = t.line()
	}
	if err != nil {
		return nil, nil, err
	}
	if !strings.HasPrefix(line, "WARC/") {
		return nil, nil, &warcFault{ReasonCorruptFile, fmt.Sprintf("it begins with %q where WARC/ and a version is expected; the "+
			"Content-Length of the record before may be wrong", line[:min(len(line), 40)])}
	}
	h, err := t.headers()
	if err != nil {
		return nil, nil, unexpected(err)
	}
	size, err := strconv.ParseInt(h.get("content-length"), 10, 64)
	if err != nil || size < 0 {
		return nil, nil, &warcFault{ReasonCorruptFile, fmt.Sprintf("its Content-Length is %q", h.get("content-length"))}
	}
	kind, url := strings.ToLower(h.get("warc-type")), strings.Trim(h.get("warc-target-uri"), "<>")
	wanted := kind == "response" || kind == "resource" || kind == "conversion"
	if size > int64(t.o.MaxRecordBytes) || !wanted {
		n, err := io.CopyN(io.Discard, t.lines.b, size)
		if t.at += n; err != nil {
			return nil, nil, unexpected(err)
		}
		if wanted {
			return nil, t.tooLarge(size, []byte(url)), t.separator()
		}
		return nil, nil, t.separator()
	}
	block := make([]byte, size)
	n, err := io.ReadFull(t.lines.b, block)
	if t.at += int64(n); err != nil {
		return nil, nil, unexpected(err)
	}
	if err := t.separator(); err != nil {
		return nil, nil, err
	}
	rec, rej := t.document(kind, url, h, block)
	return rec, rej, nil
}

// document makes a document of a record's block.
func (t *warcReader) document(kind, url string, h headers, block []byte) (*Record, *Reject) {
	media := h.get("content-type")
	if kind == "response" {
		if !strings.HasPrefix(strings.ToLower(media), "application/http") {
			t.tally.note(NoteNotPages)
			return nil, nil
		}
		status, answer, body := httpResponse(block)
		if status != "200" {
			t.tally.note(NoteNotPages)
			return nil, nil
		}
		media = answer.get("content-type")
		if !pageType(media) {
			t.tally.note(NoteNotPages)
			return nil, nil
		}
		var err error
		if block, err = decodeBody(answer, body, t.o.MaxRecordBytes); err != nil {
			return nil, t.reject(ReasonCorruptFile, fmt.Sprintf("record %d, %s: %v", t.index, url, err), "an answer of HTTP", []byte(url))
		}
	}
	if !pageType(media) {
		t.tally.note(NoteNotPages)
		return nil, nil
	}
	if blank(block) {
		return nil, t.reject(ReasonEmptyText, url, "", nil)
	}
	rec := &Record{Source: t.source, Index: t.index, Text: string(block), URL: url, MediaType: media}
	if kind == "conversion" {
		if where, bad := badUTF8(block); bad {
			return nil, t.reject(ReasonInvalidUTF8, where, "UTF-8", block)
		}
		rec.MediaType = ""
	}
	return rec, nil
}

// pageType says whether a media type is of text that people read.
func pageType(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	switch strings.TrimSpace(media) {
	case "text/html", "application/xhtml+xml", "text/plain", "text/markdown":
		return true
	}
	return false
}

// line reads a line without its end.
func (t *warcReader) line() (string, error) { return readLine(t.lines.b, &t.at) }

// separator reads the two empty lines behind a block, which the last record may lack.
func (t *warcReader) separator() error {
	b, err := t.lines.b.Peek(4)
	for _, mark := range []string{"\r\n\r\n", "\n\n"} {
		if bytes.HasPrefix(b, []byte(mark)) {
			n, _ := t.lines.b.Discard(len(mark))
			t.at += int64(n)
			return nil
		}
	}
	if errors.Is(err, io.EOF) && len(bytes.TrimLeft(b, "\r\n")) == 0 {
		n, _ := t.lines.b.Discard(len(b))
		t.at += int64(n)
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return &warcFault{ReasonCorruptFile, fmt.Sprintf("its Content-Length ends at byte %d, where %q follows in place of two empty lines: "+
		"the length is wrong", t.at, b)}
}

func (t *warcReader) headers() (headers, error) { return readHeaders(t.lines.b, &t.at) }

// unexpected makes the end of the file inside a record an error of its own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// headers are named fields, the names in small letters.
type headers map[string]string

func (h headers) get(name string) string { return h[name] }

// readLine reads a line up to warcLine bytes, and adds what it read to at.
func readLine(b *bufio.Reader, at *int64) (string, error) {
	var out []byte
	for {
		part, err := b.ReadSlice('\n')
		*at += int64(len(part))
		out = append(out, part...)
		switch {
		case len(out) > warcLine:
			return "", &warcFault{ReasonCorruptFile, fmt.Sprintf("a line of more than %d bytes among its headers", warcLine)}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(out) > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		return strings.TrimRight(string(out), "\r\n"), nil
	}
}

// readHeaders reads fields up to an empty line. A line that begins with a blank goes on with the field before it.
func readHeaders(b *bufio.Reader, at *int64) (headers, error) {
	h, last, size := headers{}, "", 0
	for {
		line, err := readLine(b, at)
		if err != nil || line == "" {
			return h, err
		}
		if size += len(line); size > warcHeaders {
			return nil, &warcFault{ReasonCorruptFile, fmt.Sprintf("headers of more than %d bytes", warcHeaders)}
		}
		if (line[0] == ' ' || line[0] == '\t') && last != "" {
			h[last] += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, &warcFault{ReasonCorruptFile, fmt.Sprintf("the line %q among its headers has no colon", line[:min(len(line), 40)])}
		}
		last = strings.ToLower(strings.TrimSpace(name))
		if _, there := h[last]; !there {
			h[last] = strings.TrimSpace(value)
		} else {
			last = ""
		}
	}
}
