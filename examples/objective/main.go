// Objective trains a LoRA adapter with an objective of its own, and prints its metric: go run ./examples/objective MODEL-FOLDER TEXT
package main

import (
	"fmt"
	"log"
	"math"
	"os"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

func init() {
	train.RegisterObjective(train.ObjectiveRow{Name: "focal", New: func() train.Objective { return &focal{Gamma: 1} }})
}

// focal is the loss -(1-p)^γ·log p of each token, in which those that the model knows count less (Lin et al. 2017, arXiv:1708.02002).
type focal struct {
	Gamma float64 `json:"gamma"` // at least 1
}

func (o *focal) Spec() train.Spec { return train.Spec{Metrics: []string{"probability"}} }

func (o *focal) Loss(b *train.Batch, items int, coef []float32) (sum float64) {
	for i, l := range b.LogP {
		p, logp := math.Exp(float64(l)), float64(l)
		sum -= math.Pow(1-p, o.Gamma) * logp
		coef[i] = float32((o.Gamma*math.Pow(1-p, o.Gamma-1)*p*logp - math.Pow(1-p, o.Gamma)) / float64(items))
	}
	return sum
}

func (o *focal) Measure(b *train.Batch, note func(metric string, sum float64, n int)) {
	for _, l := range b.LogP {
		note("probability", math.Exp(float64(l)), 1)
	}
}

func main() {
	base, text := os.Args[1], os.Args[2]
	model, ids := must(train.Base(base, "float32")), must(must(tokenize.Load(base)).Encode(text, false)).IDs
	lora := must(train.OpenAdapter(model, "", "LORA", map[string]any{"target_modules": "all-linear"}, base, 42))
	args, objective := train.DefaultArgs(), must(train.NewObjective("focal", map[string]any{"gamma": 2}))
	args.LearningRate, args.MaxSteps, args.PerDeviceTrainBatchSize = 5e-3, 10, 1
	t := must(train.NewTrainer(args, train.Setup{Wiring: model, Adapters: []nn.Adapter{lora}, Params: nn.NewParams(1),
		SequenceLength: len(ids), Sequences: 1, Objective: objective}))
	for t.Done() < t.Total {
		step := must(t.Step(train.Sequences{{InputIDs: ids, Labels: ids, DocStarts: []int32{0}}}, 0))
		fmt.Printf("step %d: loss %.4f, probability %.4f\n", step.Step, step.Loss, step.Metrics["probability"])
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
