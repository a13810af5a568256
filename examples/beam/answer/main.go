// Answer continues prompts, each with the adapter that it names, over one base model: lines of ADAPTER, a tab, and a prompt are read, and
// ADAPTER, the prompt's id and the answer are written. Adapters are the folders in --adapters.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/transforms/infer"
)

func init() {
	beam.RegisterFunction(ask)
	beam.RegisterFunction(answer)
	beam.RegisterFunction(refused)
}

func ask(line string) (string, infer.Row) {
	adapter, prompt, _ := strings.Cut(line, "\t")
	return adapter, infer.Row{Text: prompt}
}

func answer(c infer.Completion) string { return fmt.Sprintf("%s\t%s\t%q", c.Adapter, c.ID, c.Text) }

func refused(d infer.DeadLetter) string { return fmt.Sprintf("%s\t%s\t%s", d.Adapter, d.ID, d.Reason) }

func main() {
	input, out := flag.String("input", "", "lines of ADAPTER, a tab, PROMPT"), flag.String("output", "out", "folder of the answers")
	model, adapters := flag.String("model", "", "folder of the base model"), flag.String("adapters", "", "folder of the adapters' folders")
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	how := evaluate.Sampling{MaxNewTokens: 12, Temperature: 1, TopP: 1, RepetitionPenalty: 1}
	answers, dead := infer.Generate(s, infer.Config{Model: *model, AdaptersDir: *adapters}, how,
		beam.ParDo(s, ask, textio.Read(s, *input)))
	textio.Write(s, *out+"/answers.tsv", beam.ParDo(s, answer, answers))
	textio.Write(s, *out+"/refused.tsv", beam.ParDo(s, refused, dead))
	if err := beamx.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
}
