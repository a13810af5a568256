package datasets

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Record is a document as read from an input file.
type Record struct {
	Source string // path relative to the fixed root of the glob it was found by
	Index  int64  // position in the file, from 0: line of text and JSONL, paragraph, Parquet row; 0 for a whole file
	Text   string
	Key    string // key of training by key, "" for none
	// Row is what a row of several fields has, JSON of a [Row]; "" for a plain text. Text is then all its texts, one after another.
	Row string
	// Label is the name of the text's class, of a row of kind [RowClassification]; it is not staged, the row has it too.
	Label string
	// Print identifies the text as it was read; staging it the first time sets it.
	Print Print
	URL   string // where the document comes from, of a field or column "url"; "" when unknown
	// MediaType is that of a page of a web archive, whose Text is then the bytes of the page in whatever encoding it was sent: who reads
	// the archive decodes it. "" for any other text.
	MediaType string
}

// DocID is the record's identity, [DocID] of its source and index.
func (r *Record) DocID() string { return DocID(r.Source, r.Index) }

// Reasons why a record, or the rest of a file, is rejected.
const (
	ReasonInvalidUTF8        = "invalid_utf8"
	ReasonMalformedJSON      = "malformed_json"
	ReasonTruncatedRecord    = "truncated_record" // JSON that ends in the middle
	ReasonNotAnObject        = "not_an_object"
	ReasonMissingText        = "missing_text"
	ReasonTextNotAString     = "text_not_a_string"
	ReasonNullText           = "null_text"
	ReasonEmptyText          = "empty_text"
	ReasonRecordTooLarge     = "record_too_large"
	ReasonTruncatedFile      = "truncated_file"      // the compressed stream or Parquet file is cut
	ReasonBadChecksum        = "bad_checksum"        // what was read before may be damaged
	ReasonCorruptFile        = "corrupt_file"        // the compressed stream or Parquet file is damaged
	ReasonDecompressionLimit = "decompression_limit" // a decompression bomb
	ReasonUnknownLabel       = "unknown_label"       // a class that the training data does not have
	ReasonWrongRow           = "wrong_row"           // fields of the row kind are missing or of another form
	ReasonUndesirable        = "undesirable"         // a completion labelled false, of which nothing is learnt; not a bad record
	ReasonNothingToLearn     = "nothing_to_learn"    // no token of the row has a loss: its prompt fills the sequence, its answer is empty
	ReasonTrailingGarbage    = "trailing_garbage"    // bytes after the end of a compressed stream
)

// MaxRejectRecord is how much of a rejected record is kept with its rejection, in bytes.
const MaxRejectRecord = 64 << 10

// Reject is a record, or the rest of a file, that is not used: the dead letter.
type Reject struct {
	Source    string `json:"source"`
	Index     int64  `json:"index"`          // as [Record].Index; of a file-wide reason, where reading stopped
	Rule      string `json:"rule,omitempty"` // the cleaning rule or deduplication step; "" for what reading refuses
	Reason    string `json:"reason"`
	Value     string `json:"value,omitempty"`     // what was found
	Threshold string `json:"threshold,omitempty"` // what was wanted, or the limit
	Record    []byte `json:"record,omitempty"`    // the record's first MaxRejectRecord bytes
}

// FileError is a file that cannot be read at all for a fault of its own (not of the settings); its Reason is a reason of rejection.
type FileError struct {
	Path, Reason string
	Err          error
}

// Error names the file and the fault.
func (e *FileError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Path, e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// The formats of input files.
const (
	FormatAuto    = "auto"
	FormatText    = "text"
	FormatJSONL   = "jsonl"
	FormatParquet = "parquet"
	FormatJSON    = "json" // one array of objects
	FormatCSV     = "csv"  // under a header; fields may be in quotation marks
	FormatHTML    = "html" // a page, whole
	// FormatMarkdown is a file of Markdown, whole, its marks and code as they are, without front matter.
	FormatMarkdown = "markdown"
	FormatWARC     = "warc" // a web archive: its pages and texts
	FormatTSV      = "tsv"  // under a header, separated by tabs; a quotation mark is a character like any other
)

// How a text file becomes documents.
const (
	TextLine      = "line"      // each line that is not blank, as Hugging Face's text loader
	TextParagraph = "paragraph" // runs of lines between blank ones
	TextFile      = "file"      // the whole file
)

// Options says how input files are read. The zero value reads "auto" formats with the column "text", a document a line.
type Options struct {
	Format string `yaml:"format" enum:"auto,text,jsonl,json,csv,tsv,html,markdown,warc,parquet" unset:"true" help:"format of the input"`
	// Pages reads web pages, each whole, and web archives, of FormatAuto too, which refuses them else: who sets it takes their text out.
	Pages bool `yaml:"-"`
	// Delimiter is the one character between the fields of CSV and TSV, "tab" and `\t` for the tabulator; "" finds that of CSV in the
	// header.
	Delimiter string `yaml:"delimiter" since:"0.2" help:"the character between the fields of CSV and TSV, as ; or tab; empty finds that of CSV in the header"`
	// RowKind is RowAuto or one of its siblings; RowAuto looks at the fields of each file's first row.
	RowKind string `yaml:"row_kind" unset:"true" help:"what a row of JSONL, JSON or CSV holds; auto sees it from the fields"`
	// Columns maps the field names of a row kind to the names that the files have, such as {"prompt": "question", "completion": "answer"}.
	Columns map[string]string `yaml:"columns" help:"names that the input has for the fields of its rows, as {prompt: question, completion: answer}"`
	// Translation are the fields of a text and of its translation, named by the languages as ["en", "de"], in a row or in its field
	// "translation", as Hugging Face's feature of that name has it. Such rows are a prompt "en: TEXT\nde:" and the completion " TEXT". nil
	// for other rows.
	Translation []string `yaml:"-"`
	// LabelColumn is "label" when empty, TextColumn "text". Labels are the classes that may occur, nil for any.
	LabelColumn string   `yaml:"label_column" help:"field of JSONL or JSON or column of CSV that holds the class of a text, for the task SEQ_CLS"`
	Labels      []string `yaml:"-"`
	// Answers is KindPreference or KindUnpaired where answers are compared, KindPrompt where they are sampled: rows of these are read, and
	// no others. Empty for language
	// modelling.
	Answers    string `yaml:"-"`
	TextColumn string `yaml:"text_column" help:"field of JSONL or column of Parquet that holds the text"`
	KeyColumn  string `yaml:"key_column" help:"field of a row that holds its key, such as a customer: an adapter is trained for each; empty for one adapter"`
	TextMode   string `yaml:"text_mode" enum:"line,paragraph,file" unset:"true" help:"what is a document of a text file"`
	// Where are conditions on the fields of rows: of the rule field.
	Where []Where `yaml:"-"`
	// MaxRecordBytes is the size beyond which a record is rejected; 16 MiB when 0.
	MaxRecordBytes int `yaml:"-"`
	// MaxDecompressed bounds what is read out of one compressed file, in bytes; 0 bounds the ratio alone: beyond 32 MiB no more than a
	// thousand times the compressed size.
	MaxDecompressed int64 `yaml:"-"`
}

// Choices are the kinds of rows.
func (*Options) Choices() map[string][]string { return map[string][]string{"row_kind": rowKinds} }

func (o Options) withDefaults() (Options, error) {
	set := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	set(&o.Format, FormatAuto)
	set(&o.TextColumn, "text")
	set(&o.LabelColumn, "label")
	set(&o.TextMode, TextLine)
	if o.MaxRecordBytes == 0 {
		o.MaxRecordBytes = 16 << 20
	}
	if err := settings.CheckSet(o); err != nil {
		return o, err
	}
	if delimiterOf(o.Delimiter) == utf8.RuneError {
		return o, settings.Wrong(o, "delimiter",
			"must be one character that is not a quotation mark or line end, such as ; or tab; or empty")
	}
	set(&o.RowKind, RowAuto)
	if err := o.validateRows(); err != nil {
		return o, err
	}
	if _, err := o.conditions(); err != nil {
		return o, err
	}
	if o.MaxRecordBytes < 0 || o.MaxDecompressed < 0 {
		return o, errors.New("max_record_bytes and max_decompressed must not be negative")
	}
	return o, nil
}

// Validate checks the options.
func (o Options) Validate() error {
	_, err := o.withDefaults()
	return err
}

// Reader streams the records of a file. Each call of Next gives a record, or a rejection, or io.EOF; any other error is the system's or
// the settings', and ends the reading. Damage to the file is a rejection.
type Reader interface {
	Next() (Record, *Reject, error)
	// Layout says what was detected: the format and the kind of the rows, "" where the first row has not been read.
	Layout() (format, rows string)
	// Tally counts what of the records kept so far is not used.
	Tally() Tally
	io.Closer
}

func truncate(b []byte) []byte {
	return append([]byte(nil), b[:min(len(b), MaxRejectRecord)]...)
}
