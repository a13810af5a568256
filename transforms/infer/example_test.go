package infer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/transforms/infer"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

func init() {
	register.Function2x0(ask)
	register.Function1x0(show)
	register.Function1x0(complain)
}

// ask asks a text of an adapter; here of the base model alone.
func ask(text string, emit func(string, infer.Row)) { emit("", infer.Row{Text: text}) }

func show(c infer.Completion) { fmt.Printf("%q\n", c.Text) }

func complain(d infer.DeadLetter) { fmt.Println(d.Reason) }

// A collection of texts is continued, in a pipeline that may run anywhere.
func Example() {
	dir, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		log.Fatal(err)
	}
	p, s := beam.NewPipelineWithRoot()
	rows := beam.ParDo(s, ask, beam.Create(s, "Once upon a time there was a", ""))
	completions, dead := infer.Generate(s, infer.Config{Model: dir, AdaptersDir: "adapters", Buckets: 1},
		evaluate.Sampling{MaxNewTokens: 12, RepetitionPenalty: 1.2}, rows)
	beam.ParDo0(s, show, completions)
	beam.ParDo0(s, complain, dead)
	if err := jobs.Prism(context.Background(), p, "answers"); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// " few minutes before, and the two gentlemen had been in"
	// empty_text
}
