// Adapt makes an adapter of lines of text, in one Beam pipeline of its own: read by textio, cleaned, deduplicated, tokenized, packed,
// trained, scored and exported. On Prism, in this process: go run ./adapt --input 'text/*.txt' --model MODEL-FOLDER --output out; or on
// Flink, at the address that `adaptflow flink up` prints: … --runner flink --endpoint HOST:PORT --environment_type LOOPBACK.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/clean"
	"github.com/adaptflow/adaptflow/transforms/dedupe"
	"github.com/adaptflow/adaptflow/transforms/evaluate"
	"github.com/adaptflow/adaptflow/transforms/export"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
	"github.com/adaptflow/adaptflow/transforms/train"
)

func init() {
	beam.RegisterFunction(record)
	beam.RegisterFunction(line)
}

func record(text string) ingest.Record { return ingest.Record{Text: text} }

func line(x beam.T) (string, error) { raw, err := json.Marshal(x); return string(raw), err }

func main() {
	input, model := flag.String("input", "", "text files, a document a line"), flag.String("model", "", "folder of the base model")
	out, steps := flag.String("output", "out", "folder of what is made"), flag.Int("steps", 20, "optimiser steps")
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	r := recipe.Default()
	r.Model.Path, r.Method, r.Train.MaxSteps = *model, map[string]any{"peft_type": "LORA", "r": 8}, *steps
	lines := beam.ParDo(s, record, textio.Read(s, *input))
	kept, short := clean.Records(s, clean.Settings{Rules: rules.Steps{{"rule": "length", "min_words": 5}}}, lines)
	kept, repeated := dedupe.Records(s, dedupe.Settings{Steps: rules.Steps{{"rule": "minhash"}}, Dir: *out + "/work"}, kept)
	docs, _ := tokenize.Records(s, tokenize.Settings{Tokenizer: *model, Ends: r.Prepare.Ends, Pack: r.Prepare.PackOptions}, kept)
	shards := pack.Records(s, pack.Settings{Dir: *out + "/shards", Work: *out + "/work", Tokenizer: *model, Prepare: r.Prepare,
		ValidationFraction: 0.1}, docs)
	adapters := train.Adapter(s, train.Settings{Work: *out + "/work", Model: r.Model, Method: r.Method, Train: r.Train}, shards)
	scores := evaluate.Score(s, evaluate.Settings{Tokenizer: *model, Ends: r.Prepare.Ends}, adapters, shards)
	textio.Write(s, *out+"/adapters.jsonl", beam.ParDo(s, line, export.Adapter(s, export.Settings{Out: *out}, adapters)))
	textio.Write(s, *out+"/rejects.jsonl", beam.ParDo(s, line, short))
	textio.Write(s, *out+"/repeated.jsonl", beam.ParDo(s, line, repeated))
	textio.Write(s, *out+"/scores.jsonl", beam.ParDo(s, line, scores))
	if err := beamx.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
}
