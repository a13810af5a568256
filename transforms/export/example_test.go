package export_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/evaluate"
	"github.com/adaptflow/adaptflow/transforms/export"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
	"github.com/adaptflow/adaptflow/transforms/train"
)

func init() {
	beam.RegisterFunction(better)
	beam.RegisterFunction(written)
}

func better(s evaluate.Scored) bool {
	fmt.Println("it predicts held-out text better than the base:", s.NLL < s.BaseNLL)
	return true
}

func written(x export.Exported) bool {
	_, err := os.Stat(x.Dir + "/adapter_config.json")
	fmt.Printf("the adapter %s is written: %t\n", x.Name, err == nil)
	return true
}

// A program's own texts become an adapter, in one pipeline. The program calls beam.Init first.
func ExampleAdapter() {
	base, err := assets.Resolve("embedded:lm-en-5m") // the folder of any model of Hugging Face's form
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ferries")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var texts []ingest.Record
	for i := range 60 {
		texts = append(texts, ingest.Record{Text: fmt.Sprintf("The ferry number %d leaves at seven and comes back at nine.", i)})
	}
	r := recipe.Default() // the settings, by the names and with the defaults of a recipe
	r.Model.Path, r.Method, r.Train.MaxSteps = base, map[string]any{"peft_type": "LORA", "r": 4}, 6

	p, s := beam.NewPipelineWithRoot()
	docs, rejects := tokenize.Records(s, tokenize.Settings{Tokenizer: base, Ends: r.Prepare.Ends, Pack: r.Prepare.PackOptions},
		beam.CreateList(s, texts))
	shards := pack.Records(s, pack.Settings{Dir: dir + "/shards", Work: dir + "/work", Name: "ferries", Tokenizer: base, Prepare: r.Prepare,
		ValidationFraction: 0.1}, docs)
	adapters := train.Adapter(s, train.Settings{Work: dir + "/work", Model: r.Model, Method: r.Method, Train: r.Train}, shards)
	scores := evaluate.Score(s, evaluate.Settings{Tokenizer: base, Ends: r.Prepare.Ends}, adapters, shards)
	end.Of(s, rejects)
	end.Of(s, beam.ParDo(s, better, scores))
	end.Of(s, beam.ParDo(s, written, export.Adapter(s, export.Settings{Out: dir}, adapters)))
	if err := jobs.Prism(context.Background(), p, "ferries"); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// it predicts held-out text better than the base: true
	// the adapter ferries is written: true
}
