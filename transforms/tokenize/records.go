package tokenize

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	tok "github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	beam.RegisterDoFn(&RecordsFn{})
	beam.RegisterCoder(reflect.TypeFor[datasets.StagedDoc](), marshalDoc, unmarshalDoc)
	register.Emitter1[datasets.StagedDoc]()
}

// Settings say how [Records] tokenizes. Its zero value with a Tokenizer is that of plain texts.
type Settings struct {
	Tokenizer string   // folder of tokenizer.json, or a reference to one that workers have
	Engine    string   // "" for the default, see tokenize.LoadEngine
	Ends      tok.Ends // what stands around a text
	Seed      uint64   // of the hashes that documents are ordered and split by

	// Of rows, as a recipe names them.
	CompletionOnly, AssistantOnly, ApplyChatTemplate bool
	ChatTemplate                                     string   // a file, in place of the tokenizer's own
	Labels                                           []string // classes by number, of rows that have one
	MaxTokens                                        int      // of a row that has a class; more are cut off, 0 for no bound
	// Pack is how documents will be packed: one of which nothing would have a loss then is rejected. With a SequenceLength of 0 none is.
	Pack datasets.PackOptions
}

// Records tokenizes records (PCollection<ingest.Record>, of any windows, bounded or not) and returns documents of token ids, labels and
// spans (PCollection<datasets.StagedDoc>) and the rows that are rejected (PCollection<datasets.Reject>): the same as [Encode] makes of the
// same records. Each goes on at once. A plain text has no labels, which are its ids then.
func Records(s beam.Scope, set Settings, records beam.PCollection) (docs, rejects beam.PCollection) {
	return beam.ParDo2(s.Scope("tokenize.Records"), &RecordsFn{Settings: set}, records)
}

// RecordsFn tokenizes records.
type RecordsFn struct {
	Settings Settings

	encode EncodeFn
}

// Setup loads the tokenizer, once for all instances of the process.
func (f *RecordsFn) Setup() error {
	s := &f.Settings
	f.encode = EncodeFn{TokenizerDir: s.Tokenizer, Engine: s.Engine, Ends: s.Ends, Seed: s.Seed, CompletionOnly: s.CompletionOnly,
		AssistantOnly: s.AssistantOnly, ApplyChatTemplate: s.ApplyChatTemplate, ChatTemplate: s.ChatTemplate, Labels: s.Labels,
		MaxTokens: s.MaxTokens, Pack: s.Pack}
	if err := f.encode.Setup(); err != nil {
		return err
	}
	f.encode.Pack.Classes = len(s.Labels) > 0
	f.encode.Pack.KeepEnds = len(f.encode.frame.End()) > 0 // as it will be packed
	return nil
}

// ProcessElement tokenizes a record.
func (f *RecordsFn) ProcessElement(ctx context.Context, e ingest.Record, docs func(datasets.StagedDoc),
	rejects func(datasets.Reject)) error {
	r := e.Identified().Dataset()
	meter.Add(ctx, meter.DocumentsIn, 1)
	meter.Add(ctx, meter.BytesIn, int64(len(r.Text)))
	d, _, err := f.encode.doc(&r)
	if err == nil {
		err = f.encode.silent(&d)
	}
	if bad := (*rowError)(nil); errors.As(err, &bad) {
		meter.Rejected(ctx, map[string]int64{Name + "." + bad.reason: 1})
		rejects(bad.reject(&r))
		return nil
	}
	if err != nil {
		return fmt.Errorf("tokenizing record %s: %w", r.DocID(), err)
	}
	meter.Add(ctx, meter.DocumentsOut, 1)
	meter.Add(ctx, meter.TokensOut, int64(len(d.Tokens)))
	docs(d)
	return nil
}

// marshalDoc writes a document as bytes that no runner looks into: Java's coder of rows does not read Go's empty lists.
func marshalDoc(d datasets.StagedDoc) []byte { return datasets.AppendDoc(nil, &d) }

// unmarshalDoc reads what marshalDoc writes.
func unmarshalDoc(b []byte) (datasets.StagedDoc, error) { return datasets.DecodeDoc(b) }
