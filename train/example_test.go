package train_test

import (
	"fmt"
	"log"
	"os"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// lesson is one sequence of a single document: its tokens are what is learnt. datasets.Pack makes such of texts.
var lesson = train.Sequences{{InputIDs: []int32{5, 9, 31, 44, 7, 60, 12, 80}, Labels: []int32{5, 9, 31, 44, 7, 60, 12, 80},
	DocStarts: []int32{0}}}

// newTrainer makes a trainer of a new LoRA adapter.
func newTrainer() (*train.Trainer, *peft.Adapter) {
	base := "../model/testdata/models/llama_gqa" // a folder of Hugging Face's
	model, err := train.Base(base, "float32")
	if err != nil {
		log.Fatal(err)
	}
	lora, err := train.OpenAdapter(model, "", "LORA", map[string]any{"r": 4, "target_modules": "all-linear"}, base, 42)
	if err != nil {
		log.Fatal(err)
	}
	args := train.DefaultArgs()
	args.LearningRate, args.MaxSteps, args.PerDeviceTrainBatchSize = 2e-2, 20, 1
	t, err := train.NewTrainer(args, train.Setup{Wiring: model, Adapters: []nn.Adapter{lora}, Params: nn.NewParams(1),
		SequenceLength: 8, Sequences: len(lesson)})
	if err != nil {
		log.Fatal(err)
	}
	return t, lora
}

// A LoRA adapter is trained for twenty steps and saved as a folder of Hugging Face PEFT.
func Example() {
	t, lora := newTrainer() // a base model, an adapter, the settings: see examples/train for all of it
	defer t.Close()
	var losses []float64
	for t.Done() < t.Total {
		step, err := t.Step(lesson, 0)
		if err != nil {
			log.Fatal(err)
		}
		losses = append(losses, step.Loss)
	}
	dir, err := os.MkdirTemp("", "adapter")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := lora.Save(dir+"/lora", t.Params(), 0, peft.Card{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(losses), "steps; the loss fell to less than a tenth:", losses[19] < losses[0]/10)
	// Output: 20 steps; the loss fell to less than a tenth: true
}

// A checkpoint holds the parameters and the optimiser: a new trainer that loads it goes on as if nothing had happened.
func ExampleTrainer_Load() {
	dir, err := os.MkdirTemp("", "checkpoints")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	first, _ := newTrainer()
	defer first.Close()
	var whole float64
	for first.Done() < first.Total {
		if first.Done() == 7 { // the process might end here
			if err := first.Save(dir, &train.State{}); err != nil {
				log.Fatal(err)
			}
		}
		step, err := first.Step(lesson, 0)
		if err != nil {
			log.Fatal(err)
		}
		whole = step.Loss
	}
	again, _ := newTrainer()
	defer again.Close()
	if _, err := again.Load(train.CheckpointDir(dir, 7)); err != nil {
		log.Fatal(err)
	}
	fmt.Println("goes on after step", again.Done())
	var resumed float64
	for again.Done() < again.Total {
		step, err := again.Step(lesson, 0)
		if err != nil {
			log.Fatal(err)
		}
		resumed = step.Loss
	}
	fmt.Println("the same last loss, to the bit:", resumed == whole)
	// Output:
	// goes on after step 7
	// the same last loss, to the bit: true
}

// The learning rate of each step is a function of the settings alone: here it rises for two steps and falls as a cosine.
func ExampleArgs_LearningRateAt() {
	args := train.DefaultArgs()
	args.LearningRate, args.LRSchedulerType, args.WarmupSteps = 1e-3, "cosine", 2
	for step := range 6 {
		fmt.Printf("%.5f ", args.LearningRateAt(step, 6))
	}
	// Output: 0.00000 0.00050 0.00100 0.00085 0.00050 0.00015
}
