package train

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// classes are documents of random tokens whose class is decided by one of them, two documents a sequence.
func classes(n int) []datasets.Sequence {
	var out []datasets.Sequence
	for i := range n {
		q := datasets.Sequence{DocStarts: []int32{0, 5}, DocIDs: []string{"a", "b"}, DocSpans: [][2]int32{{0, 5}, {5, 9}},
			Sources: []string{"", ""}}
		for t := range 9 {
			q.InputIDs = append(q.InputIDs, int32(20+(i*37+t*11)%200))
			q.Labels = append(q.Labels, datasets.NoLoss)
		}
		for d, at := range []int{2, 6} {
			class := (i + d) % 3
			q.InputIDs[at] = int32(7 + class)
			q.Labels[[]int{4, 8}[d]] = int32(class)
		}
		out = append(out, q)
	}
	return out
}

// TestClassifier trains a classifier: the rows are the documents' last tokens, the loss of an untrained head is near log 3, and training
// sorts the classes.
func TestClassifier(t *testing.T) {
	m, err := model.LoadTask(filepath.Join("..", "model", "testdata", "models", "llama_gqa"), "float32",
		model.Task{Type: "SEQ_CLS", NumLabels: 3, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	data := classes(24)
	step, err := ClassStepFrom(data[:2])
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{4, 8, 13, 17}; len(step.Rows) != 4 || step.Rows[1] != want[1] || step.Rows[3] != want[3] || step.Labels[3] != 2 {
		t.Errorf("rows %v, labels %v", step.Rows, step.Labels)
	}
	a, err := peft.New("LORA", map[string]any{"r": 4, "lora_alpha": 8, "target_modules": []string{"q_proj", "v_proj"},
		"task_type": "SEQ_CLS"}, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	args := DefaultArgs()
	args.LearningRate, args.MaxSteps, args.PerDeviceTrainBatchSize = 2e-2, 40, 6
	params := nn.NewParams(1)
	defer params.Free()
	tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 9, Sequences: len(data),
		Objective: Classify{}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var losses []float64
	for range args.MaxSteps {
		info, err := tr.Step(Sequences(data), 0)
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, info.Loss)
	}
	if first, last := losses[0], losses[len(losses)-1]; math.Abs(first-math.Log(3)) > 0.3 || last > 0.2 {
		t.Errorf("the loss goes from %g to %g", first, last)
	}
	c, err := NewClassifier(m, []nn.Adapter{a}, params, nil, 40, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Classify(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Documents != 48 || got.Accuracy() < 0.95 || got.MacroF1() < 0.95 {
		t.Errorf("of %d documents %d right, macro F1 %g", got.Documents, got.Right, got.MacroF1())
	}
	data[0].Labels[1] = 2
	if _, err := ClassStepFrom(data[:1]); err == nil || !strings.Contains(err.Error(), "last token") {
		t.Errorf("a label inside a document: %v", err)
	}
}

// TestMacroF1 has scikit-learn's value for classes [0 0 1 2 2] and predictions [0 1 1 0 2]: (0.5 + 2/3 + 2/3) / 3.
func TestMacroF1(t *testing.T) {
	c := &Classified{Documents: 5, Right: 3, Confusion: [][]int{{1, 1, 0, 0}, {0, 1, 0, 0}, {1, 0, 1, 0}, {0, 0, 0, 0}}}
	if want := (0.5 + 2.0/3 + 2.0/3) / 3; math.Abs(c.MacroF1()-want) > 1e-12 || c.Accuracy() != 0.6 {
		t.Errorf("macro F1 %g, want %g; accuracy %g", c.MacroF1(), want, c.Accuracy())
	}
}
