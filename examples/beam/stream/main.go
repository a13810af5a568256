// Stream cleans and continues texts that come one after another, without an end but --for, and prints each answer when its window closes.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/periodic"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/transforms/clean"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/infer"
	"github.com/adaptflow/adaptflow/transforms/ingest"
)

func init() {
	beam.RegisterFunction(arrive)
	beam.RegisterFunction(ask)
	beam.RegisterFunction(show)
}

// arrive stands for what a queue would give: a text for each tick, every third of which is too short.
func arrive(at beam.EventTime, _ []byte) ingest.Record {
	tick := at.Milliseconds() / 100
	if tick%3 == 0 {
		return ingest.Record{Source: fmt.Sprint(tick), Text: "No."}
	}
	return ingest.Record{Source: fmt.Sprint(tick), Text: fmt.Sprintf("The file number %d holds\n* * *", tick%10)}
}

func ask(r ingest.Record) (string, infer.Row) { return "", infer.Row{ID: r.Source, Text: r.Text} }

func show(w beam.Window, c infer.Completion) string {
	fmt.Printf("%v %s %q\n", w, c.ID, c.Text)
	return c.ID
}

func main() {
	model, length := flag.String("model", "", "folder of the base model"), flag.Duration("for", 10*time.Second, "how long texts come")
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	ticks := periodic.Impulse(s, time.Now(), time.Now().Add(*length), 100*time.Millisecond, false)
	texts := beam.WindowInto(s, window.NewFixedWindows(time.Second), beam.ParDo(s, arrive, ticks))
	kept, _ := clean.Records(s, clean.Settings{Rules: rules.Steps{{"rule": "symbol_lines"}, {"rule": "length", "min_words": 3}}}, texts)
	how := evaluate.Sampling{MaxNewTokens: 8, Temperature: 1, TopP: 1, RepetitionPenalty: 1}
	answers, _ := infer.Generate(s, infer.Config{Model: *model, Buckets: 1}, how, beam.ParDo(s, ask, kept))
	end.Of(s, beam.ParDo(s, show, answers))
	if err := beamx.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
}
