package datasets

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// FormatError is a file of a format that is not read, which would give nonsense as lines of text.
type FormatError struct {
	Path, Format string
	By           string // how it was seen: "its name" or "its content"
	Advice       string // what to do
}

// Error names the file, its format and what to do.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s is %s (by %s), not text: %s; if it is text all the same, name its data.format", e.Path, e.Format, e.By, e.Advice)
}

// foreign is a family of formats that are not read.
type foreign struct {
	name   string
	advice string
	exts   string // extensions of file names, without compression
	magic  func(head []byte) bool
}

const (
	extract    = "extract its text first"
	tabular    = "export it as Parquet, CSV or JSONL"
	unpack     = "unpack it, and compress single files by gz, zst, bz2 or lz4"
	media      = "leave it out of the input"
	transcribe = "transcribe it first"
	convert    = "write what it holds as JSONL or Parquet, by a program that you trust it with"
)

// formatHTML names web pages among the formats that are not read as they are.
const formatHTML = "HTML"

// formatWARC names web archives among them.
const formatWARC = "WARC (web crawl)"

// WARCAdvice is what to do with web archives.
const WARCAdvice = "set Pages and take the text of its pages out, as the pipelines do, or extract it first to JSONL"

// HTMLAdvice is what to do with web pages.
const HTMLAdvice = "add the rule that takes out the main text (--set clean=html_text), with which a page is a document"

func begins(magic ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, m := range magic {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return false
	}
}

func at(offset int, magic ...string) func([]byte) bool {
	return func(head []byte) bool { return len(head) > offset && begins(magic...)(head[offset:]) }
}

// withNUL is a magic that texts may have too.
func withNUL(magic func([]byte) bool) func([]byte) bool {
	return func(head []byte) bool { return magic(head) && bytes.IndexByte(head, 0) >= 0 }
}

// zipOf is a ZIP archive whose first entries have the name, or the content.
func zipOf(names ...string) func([]byte) bool {
	return func(head []byte) bool {
		if !begins("PK\x03\x04")(head) {
			return false
		}
		for _, n := range names {
			if bytes.Contains(head, []byte(n)) {
				return true
			}
		}
		return false
	}
}

var htmlBegins = regexp.MustCompile(`(?i)^(?:\s|<\?xml[^>]*>|<!--(?s:.*?)-->)*<(?:!doctype\s+html|html[\s>]|head>|body[\s>])`)

// pdfLater is a PDF behind other bytes, of which viewers pass over the first 1024: its header and, in the next line, its mark of binary
// content or an object.
var pdfLater = regexp.MustCompile(`%PDF-[12]\.[0-9][\r\n]+(?:%[^ -~\r\n]|[0-9]+ [0-9]+ obj)`)

// foreigners are looked through in order.
var foreigners = []foreign{
	{"PDF", extract + ", as with pdftotext", "pdf",
		func(h []byte) bool { return begins("%PDF-")(h) || pdfLater.Match(h[:min(len(h), 1024)]) }},
	{"EPUB", extract + ", as with pandoc", "epub", zipOf("application/epub+zip")},
	{"an OpenDocument file", extract + ", as with pandoc", "odt ott odp odg fodt", zipOf("opendocument.text", "opendocument.presentation")},
	{"an OpenDocument spreadsheet", tabular, "ods fods", zipOf("opendocument.spreadsheet")},
	{"DOCX (Word)", extract + ", as with pandoc", "docx docm dotx", zipOf("word/")},
	{"XLSX (Excel)", tabular, "xlsx xlsm xlsb", zipOf("xl/")},
	{"PPTX (PowerPoint)", extract, "pptx pptm", zipOf("ppt/")},
	{"a NumPy archive", convert, "npz", zipOf(".npy")},
	{"a PyTorch file", convert, "pt pth ckpt", zipOf("/data.pkl", "archive/")},
	{"a program or package", media, "jar war whl apk class pyc wasm o a so dylib dll exe", func(h []byte) bool {
		return begins("\x7fELF", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xfe\xed\xfa\xcf", "\xca\xfe\xba\xbe", "\x00asm",
			"!<arch>\n")(h) || withNUL(begins("MZ"))(h) || zipOf("META-INF/")(h)
	}},
	{"a ZIP archive", unpack, "zip cbz", begins("PK\x03\x04", "PK\x05\x06", "PK\x07\x08")},
	{"a tar archive", unpack, "tar tgz tbz tbz2 txz tzst", withNUL(at(257, "ustar"))},
	{"a 7z archive", unpack, "7z", begins("7z\xbc\xaf\x27\x1c")},
	{"a RAR archive", unpack, "rar cbr", begins("Rar!\x1a\x07")},
	{"compressed by xz", unpack, "xz lzma", begins("\xfd7zXZ\x00", "\x5d\x00\x00")},
	{"compressed by compress", unpack, "z", begins("\x1f\x9d", "\x1f\xa0")},
	{"compressed by brotli, snappy or lzip", unpack, "br sz snappy lz lzo", begins("\xff\x06\x00\x00sNaPpY", "LZIP\x01", "\x89LZO\x00")},
	{"compressed twice", unpack, "", func(h []byte) bool { return compressionOf(h) != plain }},
	{formatWARC, WARCAdvice, "warc wet wat", begins("WARC/0.", "WARC/1.")},
	{"ARC (web crawl)", "convert it to WARC, as warcio recompress does", "arc", begins("filedesc://")},
	{formatHTML, HTMLAdvice, "html htm xhtml shtml", htmlBegins.Match},
	{"a web archive", extract, "mhtml mht webarchive", nil},
	{"RTF", extract + ", as with pandoc", "rtf", begins(`{\rtf`)},
	{"XML", "write the text of its elements as JSONL", "xml svg rss atom tmx xlf xliff tei",
		func(h []byte) bool { return begins("<?xml")(bytes.TrimLeft(h, " \t\r\n")) }},
	{"an old Office document", extract + ", as with LibreOffice", "doc xls xlt ppt pps msg", begins("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")},
	{"PostScript or DjVu", extract, "ps eps djvu", begins("%!PS", "\xc5\xd0\xd3\xc6", "AT&TFORM")},
	{"an e-book of Kindle", extract, "mobi azw azw3", withNUL(at(60, "BOOKMOBI"))},
	{"a notebook", "convert it, as with jupyter nbconvert --to script", "ipynb", nil},
	{"an image", media, "png jpg jpeg gif webp bmp tif tiff ico heic avif psd", func(h []byte) bool {
		return begins("\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF87a", "GIF89a", "II*\x00", "MM\x00*", "\x00\x00\x01\x00", "8BPS")(h) ||
			withNUL(begins("BM"))(h) && at(6, "\x00\x00\x00\x00")(h) ||
			begins("RIFF")(h) && at(8, "WEBP")(h)
	}},
	{"sound or video", transcribe, "mp3 wav flac ogg oga opus m4a aac mp4 m4v mkv webm avi mov mpg mpeg", func(h []byte) bool {
		return begins("OggS", "fLaC", "\x1aE\xdf\xa3", "\xff\xfb", "\x00\x00\x01\xba")(h) || withNUL(begins("ID3", "RIFF"))(h) ||
			withNUL(at(4, "ftyp"))(h)
	}},
	{"a font", media, "ttf otf woff woff2", func(h []byte) bool {
		return begins("wOFF", "wOF2", "\x00\x01\x00\x00\x00")(h) || withNUL(begins("OTTO"))(h)
	}},
	{"a pickle", convert, "pkl pickle joblib", func(h []byte) bool { return len(h) > 1 && h[0] == 0x80 && h[1] >= 2 && h[1] <= 5 }},
	{"a NumPy array", convert, "npy", begins("\x93NUMPY")},
	{"an SQLite database", tabular, "sqlite sqlite3 db db3", begins("SQLite format 3\x00")},
	{"an HDF5 file", tabular, "h5 hdf5", begins("\x89HDF\r\n\x1a\n")},
	{"an Arrow file", tabular, "arrow feather ipc", begins("ARROW1", "FEA1", "\xff\xff\xff\xff")},
	{"an ORC or Avro file", tabular, "orc avro", func(h []byte) bool { return begins("Obj\x01")(h) || withNUL(begins("ORC"))(h) }},
	{"records of TensorFlow", convert, "tfrecord tfrecords", nil},
	{"the weights of a model", media, "safetensors gguf ggml onnx", func(h []byte) bool {
		return begins("GGUF", "ggjt")(h) || len(h) > 9 && bytes.Equal(h[4:9], []byte("\x00\x00\x00\x00{"))
	}},
}

// foreignOf tells the format of a file that is not text, from its content and its name.
func foreignOf(path string, head []byte) *FormatError {
	var named *FormatError
	if ext := strings.TrimPrefix(filepath.Ext(plainName(path)), "."); ext != "" {
		for _, f := range foreigners {
			if named == nil && slices.Contains(strings.Fields(f.exts), ext) {
				named = &FormatError{path, f.name, "its name", f.advice}
			}
		}
	}
	if named != nil && begins("PK\x03\x04")(head) { // of archives the name says more than their first entries
		return named
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n") // what editors and mail put first changes no format
	for _, f := range foreigners {
		if f.magic != nil && (f.magic(head) || f.magic(text)) {
			return &FormatError{path, f.name, "its content", f.advice}
		}
	}
	if named != nil {
		return named
	}
	if bytes.IndexByte(head, 0) >= 0 {
		nuls := bytes.Count(head, []byte{0})
		if bad := nuls + noText(head); bad >= 8 && 3*bad >= len(head) && sniffEncoding(head) == utf8Encoding {
			return &FormatError{path, "binary data", "its content", convert}
		}
	}
	return nil
}

// Foreign is the format of a file that is not read as text, seen from its name and how it begins; nil for text.
func Foreign(path string, content []byte) *FormatError {
	return foreignOf(path, content[:min(len(content), sniffBytes)])
}

// plainName is the name of a file in small letters, without the suffix of its compression.
func plainName(path string) string {
	name := strings.ToLower(filepath.Base(path))
	for _, ext := range []string{".gz", ".zst", ".zstd", ".bz2", ".lz4"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}
