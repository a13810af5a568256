// Package ingest has the transform that reads input files into staged records and dead letters.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	beam.RegisterDoFn(&ReadFn{})
	beam.RegisterType(reflect.TypeFor[File]())
	beam.RegisterType(reflect.TypeFor[Group]())
	register.Emitter1[Group]()
}

// File is a reference to an input file.
type File struct {
	Ordinal int // position in the corpus
	Rank    int // position by source name, which the order of the input does not change
	Path    string
	Source  string
	// From and To are the languages of rows of translations, empty for other rows: see datasets.Options.Translation. They are two fields
	// since Java's coder of rows, which Flink moves elements with, does not read the lists that Go's writes.
	From, To string
	Part     int // the named source that it belongs to, by number
}

// Group is a reference to a row group of staged records.
type Group struct {
	Source string
	Path   string // the staged file
	Name   string // names what the next stage writes for the group: from the source and the group, never the clock
	Group  int
	Order  int64 // position in the corpus: files in order, groups in order
	Rank   int   // of the file
	Part   int   // the named source of the file, by number
	// First and Last are the positions in the source of the group's first and last record.
	First, Last int64
}

// Summary is what reading a file gave: Read = Kept + all of Rejected.
type Summary struct {
	Source   string           `json:"source"`
	Read     int64            `json:"read"`
	Kept     int64            `json:"kept"`
	Rejected map[string]int64 `json:"rejected"`
	Groups   [][2]int64       `json:"groups"`            // first and last record of each row group
	Rejects  string           `json:"rejects,omitempty"` // the file of dead letters
	Format   string           `json:"format"`            // as named or detected
	Labels   map[string]int64 `json:"labels,omitempty"`  // records by class, of rows that have one
	Rows     string           `json:"rows"`              // the kind of its rows
	Unused   map[string]int64 `json:"unused,omitempty"`  // see datasets.Tally
	Notes    map[string]int64 `json:"notes,omitempty"`
	First    string           `json:"first,omitempty"` // the first dead letter, in words

	bytesIn, bytesOut int64 // of the texts
}

// List are the references to the row groups of a file.
func (s *Summary) List(dir string, in File) []Group {
	var out []Group
	for g, span := range s.Groups {
		out = append(out, Group{Source: in.Source, Path: StagedPath(dir, in.Source),
			Name: fmt.Sprintf("%s-%05d", Name(in.Source), g), Group: g,
			Order: int64(in.Ordinal)<<32 | int64(g), Rank: in.Rank, Part: in.Part, First: span[0], Last: span[1]})
	}
	return out
}

// Name is the stem of the files written for a source: readable, and unique by its hash.
func Name(source string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, source)
	return safe[max(0, len(safe)-48):] + "-" + storage.SHA256([]byte(source))[:16]
}

// StagedPath is the staged file of a source in the folder dir.
func StagedPath(dir, source string) string { return storage.Join(dir, Name(source)+".parquet") }

// SummaryPath is the summary of a source in the folder dir.
func SummaryPath(dir, source string) string { return storage.Join(dir, Name(source)+".json") }

// ReadSummary reads the summary of a source.
func ReadSummary(dir, source string) (*Summary, error) {
	b, err := storage.ReadFile(SummaryPath(dir, source))
	if err != nil {
		return nil, err
	}
	var s Summary
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", SummaryPath(dir, source), err)
	}
	if s.Source != source { // of one hash, one would be read as the other
		return nil, fmt.Errorf("%s is of %s and not of %s, whose names differ in nothing that files are named by: rename one of the two",
			SummaryPath(dir, source), s.Source, source)
	}
	return &s, nil
}

// ReadFn reads an input file: records to a staged file, the others to a file of dead letters (JSON lines with zstd, see
// datasets.Reject), counts to a summary; it emits a reference for each row group.
type ReadFn struct {
	Options    datasets.Options
	StagedDir  string
	RejectsDir string
	// Pages are the settings of the rule html_text, as rules.Decode takes them in JSON, which web pages are read with; "" where pages are
	// not read.
	Pages string

	pages rules.Rule
	work  bundle.Workers[*readFile]
}

type readFile struct {
	in  File
	sum *Summary
}

// Setup builds the rule.
func (f *ReadFn) Setup() error {
	if f.Pages == "" {
		return nil
	}
	chain, err := rules.DecodeChain("["+f.Pages+"]", rules.Tools{})
	if err == nil {
		f.pages = chain[0]
	}
	return err
}

// StartBundle begins with no file.
func (f *ReadFn) StartBundle(context.Context, func(Group)) { f.work.Start() }

// ProcessElement begins to read one file.
func (f *ReadFn) ProcessElement(ctx context.Context, in File, _ func(Group)) error {
	return f.work.Go(ctx, func() (*readFile, error) {
		s, err := f.read(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", in.Path, err)
		}
		return &readFile{in, s}, nil
	})
}

// FinishBundle emits the row groups of the files.
func (f *ReadFn) FinishBundle(ctx context.Context, emit func(Group)) error {
	files, err := f.work.Wait()
	for _, r := range files {
		meter.Add(ctx, meter.DocumentsIn, r.sum.Read)
		meter.Add(ctx, meter.DocumentsOut, r.sum.Kept)
		meter.Add(ctx, meter.BytesIn, r.sum.bytesIn)
		meter.Add(ctx, meter.BytesOut, r.sum.bytesOut)
		meter.Rejected(ctx, r.sum.Rejected)
		for _, g := range r.sum.List(f.StagedDir, r.in) {
			emit(g)
		}
	}
	return err
}

func (f *ReadFn) read(ctx context.Context, in File) (*Summary, error) {
	s := &Summary{Source: in.Source, Rejected: map[string]int64{}, Labels: map[string]int64{}}
	rejects := datasets.NewRejectWriter(storage.Join(f.RejectsDir, Name(in.Source)+".jsonl.zst"))
	defer rejects.Abort()
	reject := func(r *datasets.Reject) error {
		s.Read++
		s.bytesIn += int64(len(r.Record))
		s.Rejected[reasonOf(r)]++
		if s.First == "" {
			s.First = fmt.Sprintf("%s: %s %s", datasets.DocID(r.Source, r.Index), r.Reason, r.Value)
		}
		return rejects.Write(r)
	}
	nuls := int64(0)
	out, err := datasets.CreateRecords(StagedPath(f.StagedDir, in.Source))
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	r, err := f.each(ctx, in, func(rec *datasets.Record) error {
		s.Read++
		s.Kept++
		s.bytesIn, s.bytesOut = s.bytesIn+int64(len(rec.Text)), s.bytesOut+int64(len(rec.Text))
		if strings.IndexByte(rec.Text, 0) >= 0 {
			nuls++
		}
		if rec.Label != "" {
			s.Labels[rec.Label]++
		}
		return out.Write(rec)
	}, reject)
	if r != nil {
		defer r.Close()
	}
	if err != nil {
		return nil, err
	}
	if r != nil {
		s.Format, s.Rows = r.Layout()
		tally := r.Tally()
		if nuls > 0 {
			tally.Add(datasets.Tally{Notes: map[string]int64{datasets.NoteNUL: nuls}})
		}
		s.Unused, s.Notes = tally.Unused, tally.Notes
	}
	groups, err := out.Close()
	if err != nil {
		return nil, err
	}
	s.Groups = groups
	if s.Rejects, err = rejects.Close(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return s, storage.WriteFile(SummaryPath(f.StagedDir, in.Source), b)
}

// reasonOf is what a rejection is counted by: "rule.reason", of what reading refuses the reason alone.
func reasonOf(r *datasets.Reject) string { return strings.TrimPrefix(r.Rule+"."+r.Reason, ".") }

// each reads a file and calls keep with its records and reject with what it refuses, in order. The reader, which says more of the file, is
// the caller's to close; it is nil where the file could not be opened.
func (f *ReadFn) each(ctx context.Context, in File, keep func(*datasets.Record) error,
	reject func(*datasets.Reject) error) (datasets.Reader, error) {
	options := f.Options
	options.Pages = f.pages != nil
	options.Translation = nil
	if in.From != "" {
		options.Translation = []string{in.From, in.To}
	}
	r, err := datasets.Open(in.Path, in.Source, options)
	if fault := (*datasets.FileError)(nil); errors.As(err, &fault) {
		return nil, reject(&datasets.Reject{Source: in.Source, Reason: fault.Reason, Value: fault.Err.Error()})
	}
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		if n&1023 == 0 && ctx.Err() != nil {
			return r, ctx.Err()
		}
		rec, rej, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err == nil && rej == nil && f.pages != nil {
			rej = f.page(r, &rec)
		}
		if err == nil && rej != nil {
			err = reject(rej)
		} else if err == nil {
			err = keep(&rec)
		}
		if err != nil {
			return r, err
		}
	}
}

// page takes the main text out of a record that is a web page.
func (f *ReadFn) page(r datasets.Reader, rec *datasets.Record) *datasets.Reject {
	if format, _ := r.Layout(); !strings.HasPrefix(format, datasets.FormatHTML) {
		return nil
	}
	v := f.pages.Apply(&rules.Doc{Text: rec.Text, URL: rec.URL})
	if !v.Keep {
		return &datasets.Reject{Source: rec.Source, Index: rec.Index, Rule: f.pages.Name(), Reason: v.Reason, Value: v.Value,
			Threshold: v.Threshold,
			Record:    []byte(rec.Text[:min(len(rec.Text), datasets.MaxRejectRecord)])}
	}
	rec.Text = v.Text
	return nil
}

// Read reads input files, in parallel, and returns references to the row groups of staged records (PCollection<Group>), spread anew so that
// the next stage runs in parallel too. files is a PCollection<File>.
func Read(s beam.Scope, fn *ReadFn, files beam.PCollection) beam.PCollection {
	s = s.Scope("ingest.Read")
	return beam.Reshuffle(s, beam.ParDo(s, fn, beam.Reshuffle(s, files)))
}
