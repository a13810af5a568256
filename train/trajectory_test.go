package train

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// trajectory is what a reference measured at each of its steps.
type trajectory struct {
	Losses []float64 `json:"losses"`
	LRs    []float64 `json:"lrs"`
	Norms  []float64 `json:"grad_norms"`
}

// goldenTraining is a case of golden training steps: its folder has the adapter before (adapter), the parameters after
// (expected.safetensors) and meta.json.
type goldenTraining struct {
	LR          float64    `json:"lr"`
	WeightDecay float64    `json:"weight_decay"`
	Warmup      int        `json:"warmup_steps"`
	Steps       int        `json:"max_steps"`
	Norm        float64    `json:"max_grad_norm"`
	Trajectory  trajectory `json:"trajectory"`
	// Of distillation.
	Teachers []string `json:"teachers"`
	Alpha    float64  `json:"alpha"`
}

// openGolden reads a case: what it is, its adapter over m, and the settings of its training, with batches of so many rows.
func openGolden(t *testing.T, m *model.Model, dir string, batch int) (*goldenTraining, *peft.Adapter, Args) {
	t.Helper()
	g := golden.JSON[goldenTraining](t, filepath.Join(dir, "meta.json"))
	a, err := peft.Open(filepath.Join(dir, "adapter"), nn.Sites(m), peft.Env{ModelType: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	args := DefaultArgs()
	args.LRSchedulerType, args.Stride, args.DecayAll, args.PerDeviceTrainBatchSize = "cosine", 1, true, batch
	args.LearningRate, args.WeightDecay, args.WarmupSteps, args.MaxSteps, args.MaxGradNorm = g.LR, g.WeightDecay, g.Warmup, g.Steps, g.Norm
	return &g, a, args
}

// trainingRows are the padded training batches [steps, rows, length] of a golden model's inputs, a sequence a row, with the number of rows
// and their length.
func trainingRows(in golden.File) (data Sequences, batch, length int) {
	ids, mask, labels, shape := in.I64("train_input_ids"), in.I64("train_attention_mask"), in.I64("train_labels"),
		in.Shape("train_input_ids")
	for row := range shape[0] * shape[1] {
		q := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{"d"}, DocSpans: [][2]int32{{0, 1}}, Sources: []string{""}}
		for i := row * shape[2]; i < (row+1)*shape[2]; i++ {
			if mask[i] == 1 {
				q.InputIDs, q.Labels = append(q.InputIDs, int32(ids[i])), append(q.Labels, int32(labels[i]))
			}
		}
		data = append(data, q)
	}
	return data, shape[1], shape[2]
}

// steps trains as many steps as the trajectory has, and compares loss, gradient norm and learning rate of each.
func (w *trajectory) steps(t *testing.T, tr *Trainer, data Data) {
	t.Helper()
	for i, loss := range w.Losses {
		info, err := tr.Step(data, 0)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(info.Loss-loss) > 1e-4 {
			t.Errorf("step %d: loss %.6f, want %.6f", i, info.Loss, loss)
		}
		if n := w.Norms[i]; math.Abs(info.GradNorm-n) > 1e-3*n {
			t.Errorf("step %d: gradient norm %.6f, want %.6f", i, info.GradNorm, n)
		}
		if math.Abs(info.LearningRate-w.LRs[i]) > 1e-9 {
			t.Errorf("step %d: learning rate %g, want %g", i, info.LearningRate, w.LRs[i])
		}
	}
}

// follow compares the steps, and where the parameters end ("final.NAME" in want), of which it returns the number of values.
func (w *trajectory) follow(t *testing.T, tr *Trainer, data Data, want golden.File) (finals int) {
	t.Helper()
	w.steps(t, tr, data)
	for _, n := range want.Names() {
		name := strings.TrimPrefix(n, "final.")
		q := tr.Params().Get(name)
		if q == nil {
			t.Errorf("no parameter %s", name)
			continue
		}
		finals += q.Size()
		if d := golden.MaxDiff(q.Data, want.F32(n)); !(d <= 5e-5) {
			t.Errorf("%s ends %.2e away", name, d)
		}
	}
	return finals
}
