package ingest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() { beam.RegisterDoFn(&RecordsFn{}) }

// Settings say how [Records] reads files.
type Settings struct {
	Options datasets.Options
	// Pages are the settings of the rule html_text, which web pages are read with; nil where pages are not read.
	Pages map[string]any
	// BlockBytes is the size of the blocks that large files are read by, 0 for datasets.BlockBytes.
	BlockBytes int64
}

// Records reads input files (PCollection<File>), in parallel, large ones by blocks, and returns their records (PCollection<Record>) and
// what reading refuses (PCollection<datasets.Reject>). Records are emitted as they are read, in the windows of their files. The blocks of a
// file come together in a GroupByKey before, so that files of an unbounded collection want windows, or a trigger. It panics where the
// settings are wrong.
func Records(s beam.Scope, set Settings, files beam.PCollection) (records, rejects beam.PCollection) {
	s = s.Scope("ingest.Records")
	fn := &RecordsFn{Options: set.Options}
	if set.Pages != nil {
		pages := map[string]any{"rule": "html_text"}
		for k, v := range set.Pages {
			pages[k] = v
		}
		raw, err := json.Marshal(pages)
		if err != nil {
			panic(fmt.Errorf("ingest.Records: pages: %w", err))
		}
		fn.Pages = string(raw)
	}
	if err := fn.Setup(); err != nil {
		panic(fmt.Errorf("ingest.Records: %w", err))
	}
	o := fn.Options
	o.Pages = fn.Pages != ""
	return beam.ParDo2(s, fn, blocks(s, o, set.BlockBytes, true, files))
}

// RecordsFn reads blocks of files into records.
type RecordsFn struct {
	Options datasets.Options
	Pages   string // as [ReadFn] has it

	reading reading
}

// Setup builds the rule.
func (f *RecordsFn) Setup() (err error) {
	f.reading, err = newReading(f.Options, f.Pages)
	return err
}

// ProcessElement reads one block.
func (f *RecordsFn) ProcessElement(ctx context.Context, in Block, records func(Record), rejects func(datasets.Reject)) error {
	r, err := f.reading.each(ctx, in, func(rec *datasets.Record) error {
		meter.Add(ctx, meter.DocumentsIn, 1)
		meter.Add(ctx, meter.DocumentsOut, 1)
		meter.Add(ctx, meter.BytesIn, int64(len(rec.Text)))
		meter.Add(ctx, meter.BytesOut, int64(len(rec.Text)))
		records(RecordOf(rec).Identified())
		return nil
	}, func(rej *datasets.Reject) error {
		meter.Add(ctx, meter.DocumentsIn, 1)
		meter.Add(ctx, meter.BytesIn, int64(len(rej.Record)))
		meter.Rejected(ctx, map[string]int64{reasonOf(rej): 1})
		rejects(*rej)
		return nil
	})
	if r != nil {
		r.Close()
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", in.Path, err)
	}
	return nil
}
