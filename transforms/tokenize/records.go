package tokenize

import (
	"context"
	"encoding/binary"
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
	d, err := f.encode.doc(&r)
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
func marshalDoc(d datasets.StagedDoc) []byte {
	b := make([]byte, 0, 64+4*len(d.Tokens))
	for _, s := range []string{d.ID, d.Source, d.Key} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendVarint(b, d.Index)
	b = binary.BigEndian.AppendUint64(b, d.Hash)
	b = binary.BigEndian.AppendUint64(b, d.Split)
	b = appendInts(appendInts(b, d.Tokens), d.Labels)
	b = appendLength(b, len(d.Spans), d.Spans == nil)
	at := int32(0)
	for _, s := range d.Spans { // most begin where the one before ends
		b = binary.AppendVarint(b, int64(s[0]-at))
		b = binary.AppendVarint(b, int64(s[1]-s[0]))
		at = s[1]
	}
	return b
}

// appendLength writes the length of a list, 0 of nil and one more of others.
func appendLength(b []byte, n int, none bool) []byte {
	if none {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(n)+1)
}

func appendInts(b []byte, all []int32) []byte {
	b = appendLength(b, len(all), all == nil)
	for _, x := range all {
		b = binary.AppendVarint(b, int64(x))
	}
	return b
}

// unmarshalDoc reads what marshalDoc writes.
func unmarshalDoc(b []byte) (d datasets.StagedDoc, err error) {
	r := docReader{b: b}
	d.ID, d.Source, d.Key = r.text(), r.text(), r.text()
	d.Index, d.Hash, d.Split = r.int(), r.word(), r.word()
	d.Tokens, d.Labels = r.ints(), r.ints()
	if n, some := r.length(); some {
		d.Spans = make([][2]int32, n)
		at := int32(0)
		for i := range d.Spans {
			from := at + int32(r.int())
			at = from + int32(r.int())
			d.Spans[i] = [2]int32{from, at}
		}
	}
	if r.short || len(r.b) > 0 {
		return d, errors.New("a tokenized document that is damaged: its bytes end too early or too late")
	}
	return d, nil
}

// docReader takes values off bytes; short says that there were too few.
type docReader struct {
	b     []byte
	short bool
}

func (r *docReader) cut(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *docReader) uint() uint64 {
	x, n := binary.Uvarint(r.b)
	r.short = r.short || n <= 0
	r.cut(uint64(max(n, 0)))
	return x
}

func (r *docReader) int() int64 {
	x, n := binary.Varint(r.b)
	r.short = r.short || n <= 0
	r.cut(uint64(max(n, 0)))
	return x
}

func (r *docReader) word() uint64 {
	if b := r.cut(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *docReader) text() string { return string(r.cut(r.uint())) }

// length is that of a list, each of whose values has a byte at least.
func (r *docReader) length() (n int, some bool) {
	x := r.uint()
	if x == 0 {
		return 0, false
	}
	if x-1 > uint64(len(r.b)) {
		r.short, x = true, 1
	}
	return int(x - 1), true
}

func (r *docReader) ints() []int32 {
	n, some := r.length()
	if !some {
		return nil
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.int())
	}
	return out
}
