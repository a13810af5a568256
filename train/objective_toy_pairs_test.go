package train

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

func init() {
	RegisterObjective(ObjectiveRow{Name: "toy_pairs", Doc: "the first of two documents rather than the second",
		New: func() Objective { return &toyPairs{Beta: 0.1} }})
}

// toyPairs prefers the first document of each pair to the second, relative to the base with the adapter off: DPO's sigmoid loss (Rafailov
// et al. 2023).
type toyPairs struct {
	Beta float64 `json:"beta"`
}

func (o *toyPairs) Spec() Spec {
	return Spec{Group: 2, Reference: true, MeanLogit: true, NoDropout: true,
		Metrics: []string{"rewards/accuracies", "rewards/margins", "logits/chosen"}}
}

// Items counts pairs.
func (o *toyPairs) Items(b *Batch) int { return b.Docs() / 2 }

// margin is how much more the adapter raises the first document of a pair than the second.
func (o *toyPairs) margin(b *Batch, chosen int) float64 {
	return o.Beta * (b.Sum(b.LogP, chosen) - b.Sum(b.Reference, chosen) - b.Sum(b.LogP, chosen+1) + b.Sum(b.Reference, chosen+1))
}

func (o *toyPairs) Loss(b *Batch, items int, coef []float32) (sum float64) {
	for d := 0; d < b.Docs(); d += 2 {
		m := o.margin(b, d)
		sum += math.Log1p(math.Exp(-m))
		g := float32(-o.Beta / (1 + math.Exp(m)) / float64(items))
		for k, sign := range []float32{1, -1} {
			from, to := b.Rows(d + k)
			for i := from; i < to; i++ {
				coef[i] = sign * g
			}
		}
	}
	return sum
}

func (o *toyPairs) Measure(b *Batch, note func(string, float64, int)) {
	for d := 0; d < b.Docs(); d += 2 {
		m, right := o.margin(b, d), 0.0
		if m > 0 {
			right = 1
		}
		note("rewards/accuracies", right, 1)
		note("rewards/margins", m, 1)
		from, to := b.Rows(d)
		note("logits/chosen", b.Sum(b.Step.Stats.MeanLogit, d), to-from)
	}
}

// TestGoldenPairs: over the golden folder that ADAPTFLOW_GOLDEN names, the toy objective of pairs has the loss, the log-probabilities and
// every gradient of TRL's DPO.
func TestGoldenPairs(t *testing.T) {
	root := golden.Root(t, "testdata")
	dir := filepath.Join(root, "trl", "dpo_sigmoid")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the golden folder has no trl")
	}
	m := llama(t)
	a, err := peft.Open(filepath.Join(root, "peft", "llama_gqa", "lora", "adapter"), nn.Sites(m), peft.Env{ModelType: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	f := golden.Open(t, filepath.Join(dir, "expected.safetensors"))
	ids, mask, answer, shape := f.I64("batch.input_ids"), f.I64("batch.attention_mask"), f.I64("batch.completion_mask"),
		f.Shape("batch.input_ids")
	var data Sequences
	pairs, n := shape[0]/2, shape[1]
	for p := range pairs {
		var q datasets.Sequence
		for _, row := range []int{p, pairs + p} { // rows are all chosen, then all rejected
			q.DocStarts, q.DocIDs = append(q.DocStarts, int32(len(q.InputIDs))), append(q.DocIDs, "d")
			q.DocSpans, q.Sources = append(q.DocSpans, [2]int32{0, 1}), append(q.Sources, "")
			for i := row * n; i < (row+1)*n; i++ {
				if mask[i] == 0 {
					continue
				}
				label := int32(ids[i])
				if answer[i] == 0 {
					label = datasets.NoLoss
				}
				q.InputIDs, q.Labels = append(q.InputIDs, int32(ids[i])), append(q.Labels, label)
			}
		}
		data = append(data, q)
	}
	args := DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize, args.Stride = 1, pairs, 1
	params := nn.NewParams(1)
	defer params.Free()
	tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 2 * n, Sequences: pairs,
		Objective: &toyPairs{Beta: 0.1}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := a.Load(params); err != nil {
		t.Fatal(err)
	}
	sum, items, _, err := tr.Gradients(data, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(f.F32("loss")[0]); items != pairs || math.Abs(sum/float64(items)-want) > 2e-5 {
		t.Errorf("loss %g of %d pairs, TRL %g", sum/float64(items), items, want)
	}
	compared := 0
	for _, q := range params.List() {
		name := "grad." + q.Name
		if !f.Has(name) {
			t.Errorf("TRL has no gradient of %s", q.Name)
			continue
		}
		if d := golden.RelDiff(q.Grad, f.F32(name)); !(d <= 1e-3) {
			t.Errorf("the gradient of %s is %.2e away", q.Name, d)
		}
		compared++
	}
	if compared == 0 {
		t.Error("no gradient was compared")
	}
}
