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
	"github.com/adaptflow/adaptflow/internal/progress"
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

// options are those that the file is read by.
func (f *File) options(o datasets.Options) datasets.Options {
	o.Translation = nil
	if f.From != "" {
		o.Translation = []string{f.From, f.To}
	}
	return o
}

// ReadFn reads a block of an input file: records to a staged file, the others to a file of dead letters (JSON lines with zstd, see
// datasets.Reject); it emits what it counted, by the file.
type ReadFn struct {
	Options    datasets.Options
	StagedDir  string
	RejectsDir string
	// Pages are the settings of the rule html_text, as rules.Decode takes them in JSON, which web pages are read with; "" where pages are
	// not read.
	Pages string
	// BlockBytes is the size of the blocks that large files are read by, 0 for datasets.BlockBytes.
	BlockBytes int64
	// GroupBytes is the text of a row group of staged records, 0 for 4 MiB.
	GroupBytes int64

	reading reading
	work    bundle.Workers[*blockSummary]
}

// Setup builds the rule.
func (f *ReadFn) Setup() (err error) {
	f.reading, err = newReading(f.Options, f.Pages)
	return err
}

// StartBundle begins with no block.
func (f *ReadFn) StartBundle(context.Context, func(string, string)) { f.work.Start() }

// ProcessElement begins to read one block.
func (f *ReadFn) ProcessElement(ctx context.Context, in Block, _ func(string, string)) error {
	return f.work.Go(ctx, func() (*blockSummary, error) {
		s, err := f.read(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", in.Path, err)
		}
		return &blockSummary{in, s}, nil
	})
}

// FinishBundle emits what the blocks gave.
func (f *ReadFn) FinishBundle(ctx context.Context, emit func(string, string)) error {
	all, err := f.work.Wait()
	for _, b := range all {
		progress.Add(progress.Read, b.Sum.Read)
		meter.Add(ctx, meter.DocumentsIn, b.Sum.Read)
		meter.Add(ctx, meter.DocumentsOut, b.Sum.Kept)
		meter.Add(ctx, meter.BytesIn, b.Sum.bytesIn)
		meter.Add(ctx, meter.BytesOut, b.Sum.bytesOut)
		meter.Rejected(ctx, b.Sum.Rejected)
		raw, err := json.Marshal(b)
		if err != nil {
			return err
		}
		emit(b.Block.key(), string(raw))
	}
	return err
}

func (f *ReadFn) read(ctx context.Context, in Block) (*Summary, error) {
	s := &Summary{Source: in.Source, Rejected: map[string]int64{}, Labels: map[string]int64{}}
	name := Name(in.Source)
	if !in.whole() {
		name = blockName(in.Source, in.Number)
	}
	rejects := datasets.NewRejectWriter(storage.Join(f.RejectsDir, name+".jsonl.zst"))
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
	out, err := datasets.CreateRecords(storage.Join(f.StagedDir, name+".parquet"))
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	out.GroupBytes(f.GroupBytes)
	r, err := f.reading.each(ctx, in, func(rec *datasets.Record) error {
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
	if in.whole() || s.Kept > 0 { // a block may lie in the middle of a line
		if s.Groups, err = out.Close(); err != nil {
			return nil, err
		}
	}
	s.Rejects, err = rejects.Close()
	return s, err
}

// reasonOf is what a rejection is counted by: "rule.reason", of what reading refuses the reason alone.
func reasonOf(r *datasets.Reject) string { return strings.TrimPrefix(r.Rule+"."+r.Reason, ".") }

// reading is how files are read.
type reading struct {
	options datasets.Options
	pages   rules.Rule // takes the text out of a web page, nil where pages are not read
}

// newReading builds the rule of web pages from its settings.
func newReading(o datasets.Options, pages string) (reading, error) {
	o.Pages = pages != ""
	if !o.Pages {
		return reading{options: o}, nil
	}
	chain, err := rules.DecodeChain("["+pages+"]", rules.Tools{})
	if err != nil {
		return reading{}, err
	}
	return reading{o, chain[0]}, nil
}

// each reads a block and calls keep with its records and reject with what it refuses, in order. The reader, which says more of the file, is
// the caller's to close; it is nil where the file could not be opened.
func (f *reading) each(ctx context.Context, in Block, keep func(*datasets.Record) error,
	reject func(*datasets.Reject) error) (datasets.Reader, error) {
	file := in.file()
	r, err := datasets.OpenBlock(in.Path, in.Source, file.options(f.options), in.part())
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

// Read reads input files, in parallel, large ones by blocks, and returns references to the row groups of staged records
// (PCollection<Group>), spread anew so that the next stage runs in parallel too, and the totals of all files (PCollection<string>, see
// stage.Total). files is a PCollection<File>, no two of one Source.
func Read(s beam.Scope, fn *ReadFn, files beam.PCollection) (groups, totals beam.PCollection) {
	s = s.Scope("ingest.Read")
	o := fn.Options
	o.Pages = fn.Pages != ""
	read := beam.ParDo(s, fn, blocks(s, o, fn.BlockBytes, false, files))
	groups, totals = beam.ParDo2(s, &sumFn{StagedDir: fn.StagedDir}, beam.GroupByKey(s, read))
	return beam.Reshuffle(s, groups), totals
}
