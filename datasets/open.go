package datasets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Open opens an input file and detects its compression and format, by content before name. source is what its records carry as Source.
// A *FileError is a fault of the file; other errors are the system's or the settings' (a Parquet file without the text column).
func Open(path, source string, o Options) (_ Reader, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	f, head, err := openMagic(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if o.RowKind == RowClassification && (o.Format == FormatParquet || o.Format == FormatText || bytes.HasPrefix(head, parquetMagic)) {
		return nil, fmt.Errorf("%s: texts with a class are read from JSONL, JSON and CSV; convert the file to one of them", path)
	}
	if o.Format == FormatParquet || (o.Format == FormatAuto && bytes.HasPrefix(head, parquetMagic)) {
		return openParquetInput(path, source, f, o)
	}
	d, b, enc, foreign, err := openText(path, f, head, o.MaxDecompressed)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	format := o.Format
	if format == FormatAuto {
		switch {
		case foreign != nil && foreign.Format == formatHTML && o.Pages:
			format = FormatHTML
		case foreign != nil && foreign.Format == formatWARC && o.Pages:
			format = FormatWARC
		case foreign != nil:
			return nil, foreign
		default:
			if format, err = detectFormat(path, b); err != nil {
				return nil, err
			}
		}
	}
	lr := &lineReader{b: b, max: o.MaxRecordBytes}
	if o.RowKind == RowClassification && format == FormatText {
		return nil, fmt.Errorf("%s: texts with a class are read from JSONL, JSON and CSV; this is neither by its name nor by its "+
			"content: set format where it is one of them", path)
	}
	base := fileReader{file: f, d: d, lines: lr, source: source, o: o, encoding: enc.name}
	switch {
	case format == FormatJSONL:
		return &jsonlReader{fileReader: base}, nil
	case format == FormatJSON:
		return newJSONReader(base), nil
	case format == FormatCSV, format == FormatTSV:
		return newCSVReader(base, format), nil
	case format == FormatHTML:
		return &textFile{fileReader: base, format: FormatHTML}, nil
	case format == FormatMarkdown:
		return &textFile{fileReader: base, format: FormatMarkdown}, nil
	case format == FormatWARC:
		return &warcReader{fileReader: base}, nil
	case o.TextMode == TextLine:
		return &textLines{base}, nil
	case o.TextMode == TextParagraph:
		return &textParagraphs{fileReader: base}, nil
	}
	return &textFile{fileReader: base}, nil
}

// sniffBytes is how much of the beginning of a file its format and encoding are seen from.
const sniffBytes = 4 << 10

// openText reads an open file, which begins with head, as text in UTF-8 without a byte order mark, however it is compressed and written.
// foreign says what it is where that is not text.
func openText(path string, f storage.ReaderAt, head []byte, limit int64) (d *decompressor, b *bufio.Reader, e *encoding,
	foreign *FormatError, err error) {
	if d, err = newDecompressor(storage.NewReader(f), compressionOf(head), limit); err != nil {
		return nil, nil, nil, nil, &FileError{path, ReasonCorruptFile, err}
	}
	b = bufio.NewReaderSize(d, 64<<10)
	head, _ = b.Peek(sniffBytes)
	foreign, e = foreignOf(path, head), sniffEncoding(head)
	marked := bytes.HasPrefix(head, e.mark)
	if e != utf8Encoding {
		if marked {
			b.Discard(len(e.mark))
		}
		b = bufio.NewReaderSize(newUnicodeReader(b, e), 64<<10)
	}
	if head, _ = b.Peek(len(bom)); bytes.Equal(head, bom) {
		b.Discard(len(bom))
	}
	if foreign == nil && (marked || e != utf8Encoding) { // a page, say, in another encoding
		head, _ = b.Peek(sniffBytes)
		foreign = foreignOf(path, head)
	}
	return d, b, e, foreign, nil
}

// OpenText opens a text file, compressed or not, and reads it as UTF-8 without a byte order mark in whatever Unicode encoding it is
// written. A file of a format that is not text is a *[FormatError].
func OpenText(path string) (_ io.ReadCloser, err error) {
	f, head, err := openMagic(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if bytes.HasPrefix(head, parquetMagic) {
		return nil, &FormatError{path, "Parquet", "its content", "export it as JSONL"}
	}
	d, b, _, foreign, err := openText(path, f, head, 0)
	if err != nil {
		return nil, err
	}
	if foreign != nil {
		d.Close()
		return nil, foreign
	}
	return struct {
		io.Reader
		io.Closer
	}{b, &fileReader{file: f, d: d}}, nil
}

// parquetMagic begins a Parquet file.
var parquetMagic = []byte("PAR1")

// openMagic opens a file and reads the bytes that tell compressions and Parquet apart.
func openMagic(path string) (storage.ReaderAt, []byte, error) {
	f, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, nil, err
	}
	head := make([]byte, 16)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, head[:n], nil
}

// detectFormat goes by the name without its compression suffix, and by the first byte of the content when the name says nothing.
func detectFormat(path string, b *bufio.Reader) (string, error) {
	name := plainName(path)
	head, _ := b.Peek(sniffBytes)
	text := bytes.TrimLeft(head, " \t\r\n")
	if bytes.HasPrefix(head, parquetMagic) {
		return "", &FileError{path, ReasonCorruptFile, errors.New("a Parquet file inside another compression; decompress it first")}
	}
	switch filepath.Ext(name) {
	case ".json":
		if bytes.HasPrefix(text, []byte("[")) {
			return FormatJSON, nil
		}
		return FormatJSONL, nil
	case ".jsonl", ".ndjson":
		return FormatJSONL, nil
	case ".parquet":
		return "", &FileError{path, ReasonCorruptFile, errors.New("the name says Parquet, the content does not begin with PAR1")}
	case ".csv":
		return FormatCSV, nil
	case ".tsv", ".tab":
		return FormatTSV, nil
	case ".txt", ".text":
		return FormatText, nil
	case ".md", ".markdown":
		return FormatMarkdown, nil
	}
	if bytes.HasPrefix(text, []byte("{")) {
		return FormatJSONL, nil
	}
	return FormatText, nil
}

var bom = []byte("\xef\xbb\xbf")

// fileReader is what the line-based formats share.
type fileReader struct {
	file   storage.ReaderAt
	d      *decompressor
	lines  *lineReader
	source string
	o      Options
	index  int64
	ended  bool
	kind   string // of the rows, once known
	// encoding is how the file's characters are written, "" where its format says it.
	encoding string
	used     map[string]bool // the fields of the row that were looked at
	tally    Tally
	where    *conditions // of o, once they were asked
}

// Tally implements Reader.
func (r *fileReader) Tally() Tally { return r.tally }

// layout adds the encoding to the name of a format, where it is not what is usual.
func (r *fileReader) layout(format string) string {
	if r.encoding == "" || r.encoding == utf8Encoding.name {
		return format
	}
	return format + " in " + r.encoding
}

// Close closes the file.
func (r *fileReader) Close() error { return errors.Join(r.d.Close(), r.file.Close()) }

func (r *fileReader) reject(reason, value, threshold string, rec []byte) *Reject {
	return &Reject{Source: r.source, Index: r.index, Reason: reason, Value: value, Threshold: threshold, Record: truncate(rec)}
}

// fault turns an error of reading into what Next returns: a rejection of the rest of the file when the fault is the file's.
func (r *fileReader) fault(err error, rest []byte) (*Reject, error) {
	if r.ended || errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	reason, limit := r.d.classify(err)
	if reason == "" {
		return nil, fmt.Errorf("%s: %w", r.source, err)
	}
	r.ended = true
	return r.reject(reason, err.Error(), limit, rest), nil
}

// tooLarge rejects a record over the limit.
func (r *fileReader) tooLarge(size int64, rec []byte) *Reject {
	return r.reject(ReasonRecordTooLarge, fmt.Sprintf("%d bytes", size), fmt.Sprintf("%d bytes", r.o.MaxRecordBytes), rec)
}
