package dedupe_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/transforms/dedupe"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

func init() {
	beam.RegisterFunction(record)
	beam.RegisterFunction(printKept)
	beam.RegisterFunction(printDropped)
}

func record(text string) ingest.Record { return ingest.Record{Text: text} }

func printKept(r ingest.Record) bool {
	fmt.Printf("kept %q\n", r.Text)
	return true
}

func printDropped(r datasets.Reject) bool {
	fmt.Printf("dropped %q: %s %s\n", r.Record, r.Rule, r.Reason)
	return true
}

// A program's own texts are deduplicated. The program calls beam.Init first.
func ExampleRecords() {
	dir, err := os.MkdirTemp("", "dedupe")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p, s := beam.NewPipelineWithRoot()
	texts := beam.CreateList(s, []string{"The ferry leaves at seven.", "It comes back at nine.", "The ferry leaves at seven."})
	kept, dropped := dedupe.Records(s, dedupe.Settings{Dir: dir, Steps: rules.Steps{{"rule": "exact"}}}, beam.ParDo(s, record, texts))
	end.Of(s, beam.ParDo(s, printKept, kept))
	end.Of(s, beam.ParDo(s, printDropped, dropped))
	if err := jobs.Prism(context.Background(), p, "dedupe"); err != nil {
		log.Print(err)
	}
	// Unordered output:
	// kept "The ferry leaves at seven."
	// kept "It comes back at nine."
	// dropped "The ferry leaves at seven.": id duplicate
}
