package clean_test

import (
	"context"
	"fmt"
	"log"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/transforms/clean"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

func init() {
	beam.RegisterFunction(record)
	beam.RegisterFunction(printKept)
	beam.RegisterFunction(printReject)
}

func record(text string) ingest.Record { return ingest.Record{Text: text} }

func printKept(r ingest.Record) bool {
	fmt.Printf("kept %q\n", r.Text)
	return true
}

func printReject(r datasets.Reject) bool {
	fmt.Printf("%s: %s, %s where %s is wanted\n", r.Rule, r.Reason, r.Value, r.Threshold)
	return true
}

// A program's own texts are cleaned. The program calls beam.Init first.
func ExampleRecords() {
	p, s := beam.NewPipelineWithRoot()
	texts := beam.CreateList(s, []string{"The ferry leaves at seven.\n* * *\nIt comes back at nine.", "No."})
	kept, rejects := clean.Records(s, clean.Settings{Rules: rules.Steps{{"rule": "symbol_lines"}, {"rule": "length", "min_words": 3}}},
		beam.ParDo(s, record, texts))
	end.Of(s, beam.ParDo(s, printKept, kept))
	end.Of(s, beam.ParDo(s, printReject, rejects))
	if err := jobs.Prism(context.Background(), p, "clean"); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// kept "The ferry leaves at seven.\nIt comes back at nine."
	// length: too_few_words, 2 where 3 is wanted
}
