// Package tokenize has the transform that turns staged records into staged token ids, and counts them.
package tokenize

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/progress"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/shared"
	"github.com/adaptflow/adaptflow/internal/storage"
	tok "github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&EncodeFn{})
	beam.RegisterType(reflect.TypeFor[Summary]())
	register.Emitter1[string]()
	stage.RegisterTotal[Totals](TotalsKind)
}

// Summary is what tokenizing a group of records gave, the counting pass's share.
type Summary struct {
	Source string       `json:"source"`
	Group  ingest.Group `json:"group"` // the records
	Path   string       `json:"path"`  // the staged documents
	Groups int          `json:"groups"`
	Docs   int64        `json:"docs"`
	Tokens int64        `json:"tokens"`
	// MinSplit and MaxSplit are the least and greatest datasets.PurposeValidation hash.
	MinSplit uint64 `json:"min_split"`
	MaxSplit uint64 `json:"max_split"`
	// Rejected are the rows that the chat template refuses, by "tokenize.reason"; Rejects is the file of their dead letters.
	Counters map[string]int64 `json:"counters,omitempty"`
	Rejected map[string]int64 `json:"rejected,omitempty"`
	Rejects  string           `json:"rejects,omitempty"`

	read, bytes int64 // records, and bytes of their texts
}

// TotalsKind names [Totals] for stage.Total.
const TotalsKind = "tokenize"

// Totals are what tokenizing all groups gave.
type Totals struct {
	Groups   int64            `json:"groups"`
	Docs     int64            `json:"docs"`
	Tokens   int64            `json:"tokens"`
	MinSplit uint64           `json:"min_split"` // of all documents, where there are any
	MaxSplit uint64           `json:"max_split"`
	Rejected map[string]int64 `json:"rejected,omitempty"`
	Rejects  []string         `json:"rejects,omitempty"` // files of dead letters, sorted
	Counters map[string]int64 `json:"counters,omitempty"`
}

// The counters of answers that are cut at prepare.max_length.
const (
	CutDocuments = "max_length.documents" // prompts of whose answers something was cut off
	CutTokens    = "max_length.tokens"
)

// Add adds the totals of other groups.
func (t *Totals) Add(o *Totals) {
	switch {
	case t.Docs == 0:
		t.MinSplit, t.MaxSplit = o.MinSplit, o.MaxSplit
	case o.Docs > 0:
		t.MinSplit, t.MaxSplit = min(t.MinSplit, o.MinSplit), max(t.MaxSplit, o.MaxSplit)
	}
	t.Groups, t.Docs, t.Tokens = t.Groups+o.Groups, t.Docs+o.Docs, t.Tokens+o.Tokens
	t.Rejected, t.Rejects = datasets.AddCounts(t.Rejected, o.Rejected), datasets.AddNames(t.Rejects, o.Rejects)
	if len(o.Counters) > 0 {
		t.Counters = datasets.AddCounts(t.Counters, o.Counters)
	}
}

// totals are those of one group.
func (s *Summary) totals() *Totals {
	t := &Totals{Groups: 1, Docs: s.Docs, Tokens: s.Tokens, MinSplit: s.MinSplit, MaxSplit: s.MaxSplit, Rejected: s.Rejected,
		Counters: s.Counters}
	if s.Rejects != "" {
		t.Rejects = []string{s.Rejects}
	}
	return t
}

// Name is the stage's name, of its dead letters.
const Name = "tokenize"

// rowError is an error of a row's own, which is rejected for it; any other ends the work.
type rowError struct {
	reason    string
	err       error
	threshold string // the limit, where there is one
}

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// reject is the dead letter of the row.
func (e *rowError) reject(r *datasets.Record) datasets.Reject {
	rec := cmp.Or(r.Row, r.Text)
	return datasets.Reject{Source: r.Source, Index: r.Index, Rule: Name, Reason: e.reason, Value: e.Error(), Threshold: e.threshold,
		Record: []byte(rec[:min(len(rec), datasets.MaxRejectRecord)])}
}

// EncodeFn tokenizes a row group of staged records into a file of staged documents, in the order of their shard hash, or in file order.
type EncodeFn struct {
	TokenizerDir string
	Engine       string
	Ends         tok.Ends
	Before       bool // as version 0.1 did it: see Before
	Seed         uint64
	FileOrder    bool
	OutDir       string
	RejectsDir   string
	// Of rows: see prepare.Config.
	CompletionOnly, AssistantOnly, ApplyChatTemplate bool
	ChatTemplate                                     string
	Labels                                           []string // classes by number, of rows that have one
	MaxTokens                                        int      // of a row that has a class, or of a prompt with an answer; more are cut off
	// Pack is how documents are packed: one of which nothing would have a loss then is rejected.
	Pack datasets.PackOptions

	dir   string // of the tokenizer, on this machine
	t     tok.Tokenizer
	frame *tok.Frame
	rows  *rowEncoder
	work  bundle.Workers[*Summary]
}

// Setup loads the tokenizer, once for all instances of the process.
func (f *EncodeFn) Setup() (err error) {
	if f.dir, err = pulled.Folder(context.Background(), f.TokenizerDir); err != nil {
		return err
	}
	if f.t, f.frame, err = LoadTokenizer(f.dir, f.Engine, f.Ends, f.Before); err != nil {
		return err
	}
	f.rows, err = newRowEncoder(f)
	return err
}

// tokenizers are those that instances of DoFns and drivers of this process have, with what stands around a text.
var tokenizers shared.Map[tokenizerKey, tok.Frame]

type tokenizerKey struct {
	dir, stamp, engine string // stamp is that of its files
	ends               tok.Ends
	before             bool
}

// tokenizerFiles are the extensions of the files that a tokenizer is made of.
var tokenizerFiles = []string{".json", ".model", ".txt", ".jinja"}

// LoadTokenizer loads a tokenizer, once for all who keep the Frame at a time while its files are the same, and checks that it has the
// special tokens that are wanted.
func LoadTokenizer(dir, engine string, ends tok.Ends, before bool) (tok.Tokenizer, *tok.Frame, error) {
	load := tok.LoadEngine
	if before {
		load = tok.LoadBefore
	}
	f, err := tokenizers.Get(tokenizerKey{dir, storage.Stamp(dir, tokenizerFiles...), engine, ends, before}, func() (*tok.Frame, error) {
		t, err := load(dir, engine)
		if err != nil {
			return nil, err
		}
		f, err := ends.Frame(t)
		if err != nil {
			return nil, fmt.Errorf("tokenizer %s: prepare.%w", dir, err)
		}
		return f, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return f.Tokenizer(), f, nil
}

// StartBundle begins with no group.
func (f *EncodeFn) StartBundle(context.Context, func(string), func(string)) { f.work.Start() }

// ProcessElement begins to tokenize one group.
func (f *EncodeFn) ProcessElement(ctx context.Context, g ingest.Group, _ func(string), _ func(string)) error {
	return f.work.Go(ctx, func() (*Summary, error) {
		sum, err := f.encode(ctx, g)
		if err != nil {
			return nil, fmt.Errorf("tokenizing %s: %w", g.Source, err)
		}
		return sum, nil
	})
}

// FinishBundle emits the groups' summaries, in JSON, and their [Totals].
func (f *EncodeFn) FinishBundle(ctx context.Context, emit, total func(string)) error {
	all, err := f.work.Wait()
	for _, sum := range all {
		meter.Add(ctx, meter.DocumentsIn, sum.read)
		meter.Add(ctx, meter.DocumentsOut, sum.Docs)
		meter.Add(ctx, meter.BytesIn, sum.bytes)
		meter.Add(ctx, meter.TokensOut, sum.Tokens)
		progress.Add(progress.Tokens, sum.Tokens)
		meter.Rejected(ctx, sum.Rejected)
		for _, out := range []struct {
			v    any
			emit func(string)
		}{{sum, emit}, {sum.totals(), total}} {
			text, err := json.Marshal(out.v)
			if err != nil {
				return err
			}
			out.emit(string(text))
		}
	}
	return err
}

func (f *EncodeFn) encode(ctx context.Context, g ingest.Group) (*Summary, error) {
	recs, err := datasets.ReadRecords(g.Path, g.Source, g.Group)
	if err != nil {
		return nil, err
	}
	sum := &Summary{Source: g.Source, Group: g, Path: storage.Join(f.OutDir, g.Name+".parquet"), MinSplit: math.MaxUint64}
	docs, prints := make([]datasets.StagedDoc, 0, len(recs)), make([]byte, 0, printBytes*len(recs))
	dead := datasets.NewRejectWriter(storage.Join(f.RejectsDir, Name+"-"+g.Name+".jsonl.zst"))
	defer dead.Abort()
	for i := range recs {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		sum.read, sum.bytes = sum.read+1, sum.bytes+int64(len(recs[i].Text))
		d, cut, err := f.doc(&recs[i])
		if err == nil {
			err = f.silent(&d)
		}
		if bad := (*rowError)(nil); errors.As(err, &bad) {
			if sum.Rejected == nil {
				sum.Rejected = map[string]int64{}
			}
			sum.Rejected[Name+"."+bad.reason]++
			d := bad.reject(&recs[i])
			if err := dead.Write(&d); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", recs[i].Index, err)
		}
		if cut > 0 {
			sum.Counters = datasets.AddCounts(sum.Counters, map[string]int64{CutDocuments: 1, CutTokens: int64(cut)})
		}
		docs = append(docs, d)
		prints = appendPrint(prints, &recs[i], d.Split)
		sum.Docs++
		sum.Tokens += int64(len(d.Tokens))
		sum.MinSplit, sum.MaxSplit = min(sum.MinSplit, d.Split), max(sum.MaxSplit, d.Split)
	}
	if !f.FileOrder {
		slices.SortFunc(docs, func(a, b datasets.StagedDoc) int {
			return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Index, b.Index))
		})
	}
	if sum.Rejects, err = dead.Close(); err != nil {
		return nil, err
	}
	if err := storage.WriteFile(PrintsPath(f.OutDir, g.Name), prints); err != nil {
		return nil, err
	}
	w, err := datasets.CreateDocs(sum.Path)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for i := range docs {
		if err := w.Write(&docs[i]); err != nil {
			return nil, err
		}
	}
	groups, err := w.Close()
	sum.Groups = len(groups)
	return sum, err
}

// doc is the document of a record, and how many tokens of it were cut off.
func (f *EncodeFn) doc(r *datasets.Record) (d datasets.StagedDoc, cut int, err error) {
	id := r.DocID()
	d = datasets.StagedDoc{Index: r.Index, Hash: datasets.Hash(id, f.Seed, datasets.PurposeShard),
		Split: datasets.Hash(id, f.Seed, datasets.PurposeValidation)}
	d.ID, d.Source, d.Key = id, r.Source, r.Key
	if r.Row != "" {
		t, err := f.rows.encode(r)
		if err != nil {
			return d, 0, err
		}
		d.Tokens, d.Labels, d.Spans = t.IDs, t.Labels, t.Spans
		if len(d.Spans) != len(d.Tokens) {
			return d, 0, fmt.Errorf("the tokenizer engine gave %d offsets for %d tokens", len(d.Spans), len(d.Tokens))
		}
		return d, t.Cut, nil
	}
	if f.Pack.Answers {
		return d, 0, &rowError{reason: datasets.ReasonWrongRow, err: errors.New("a plain text: " + datasets.AnswersAdvice)}
	}
	if f.ApplyChatTemplate {
		return d, 0, errors.New("apply_chat_template: this is a plain text; rows of prompt and completion, messages, conversations, or " +
			"instruction and output are wanted: " +
			"name them with columns, as {prompt: question, completion: answer}, or adapt to plain text with domain-adaptation")
	}
	encode := f.frame.Text
	if f.Before {
		encode = func(text string) (*tok.Encoding, error) { return textBefore(f.t, text) }
	}
	e, err := encode(r.Text)
	if err != nil {
		return d, 0, err
	}
	d.Tokens, d.Spans = e.IDs, e.Offsets
	if len(d.Spans) != len(d.Tokens) {
		return d, 0, fmt.Errorf("the tokenizer engine gave %d offsets for %d tokens", len(e.Offsets), len(e.IDs))
	}
	return d, 0, nil
}

// Encode tokenizes the records that groups (PCollection<ingest.Group>) refers to and returns a [Summary] of each in JSON
// (PCollection<string>), and the totals of all (PCollection<string>, see stage.Total).
func Encode(s beam.Scope, fn *EncodeFn, groups beam.PCollection) (summaries, totals beam.PCollection) {
	return beam.ParDo2(s.Scope("tokenize.Encode"), fn, groups)
}
