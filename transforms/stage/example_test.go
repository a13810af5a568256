package stage_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() { beam.RegisterFunction(printText) }

func printText(r ingest.Record) bool {
	fmt.Println(r.Text)
	return true
}

// Records are staged, references to them travel, and the records are read where they are wanted.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "staged")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p, s := beam.NewPipelineWithRoot()
	records := beam.CreateList(s, []ingest.Record{{Text: "The ferry leaves at seven."}, {Text: "It comes back at nine."}})
	groups := stage.Write(s, stage.Settings{Dir: dir}, records)
	end.Of(s, beam.ParDo(s, printText, stage.Read(s, groups)))
	if err := jobs.Prism(context.Background(), p, "stage"); err != nil {
		log.Print(err)
	}
	// Unordered output:
	// The ferry leaves at seven.
	// It comes back at nine.
}
