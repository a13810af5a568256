// Train trains a LoRA adapter on the lines of a text, without Beam: go run ./examples/train MODEL-FOLDER TEXT-FILE ADAPTER-FOLDER
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

func main() {
	base, text, out := os.Args[1], must(os.ReadFile(os.Args[2])), os.Args[3]
	frame := must(tokenize.Ends{}.Frame(must(tokenize.Load(base))))
	var docs []datasets.Doc
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		docs = append(docs, datasets.Doc{ID: datasets.DocID(os.Args[2], int64(i)), Tokens: must(frame.Text(line)).IDs})
	}
	var data train.Sequences
	pack := datasets.PackOptions{Strategy: datasets.PackBFDSplit, SequenceLength: 128, IsolateDocuments: true}
	must(datasets.Pack(docs, pack, func(s datasets.Sequence) error { data = append(data, s); return nil }))
	model := must(train.Base(base, "float32"))
	config := map[string]any{"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
	lora := must(train.OpenAdapter(model, "", "LORA", config, base, 42))
	args, params := train.DefaultArgs(), nn.NewParams(1)
	args.LearningRate, args.MaxSteps = 2e-3, 20
	t := must(train.NewTrainer(args, train.Setup{Wiring: model, Adapters: []nn.Adapter{lora}, Params: params,
		SequenceLength: pack.SequenceLength, Sequences: len(data)}))
	for t.Done() < t.Total {
		fmt.Printf("step %d: loss %.4f\n", t.Done()+1, must(t.Step(data, 0)).Loss)
	}
	must(out, lora.Save(out, params, 0, peft.Card{}))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
