package train

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// trlSettings are the keys of a TRL case or run that are settings of our objectives, under the same names.
var trlSettings = strings.Fields("beta loss_type loss_weights label_smoothing ld_alpha f_divergence_type f_alpha_divergence_coef " +
	"use_weighting desirable_weight undesirable_weight alpha simpo_gamma cpo_alpha center_rewards_coefficient")

// trlObjective is the objective of a TRL trainer with the settings of a case.
func trlObjective(t *testing.T, trainer string, meta map[string]any) Objective {
	t.Helper()
	settings := map[string]any{}
	for _, k := range trlSettings {
		if v, ok := meta[k]; ok {
			settings[k] = v
		}
	}
	o, err := NewObjective(trainer, settings)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// document adds a document to a sequence, of which the tokens from answer have a loss.
func document(q *datasets.Sequence, ids []int32, answer int) {
	q.DocStarts, q.DocIDs = append(q.DocStarts, int32(len(q.InputIDs))), append(q.DocIDs, "d")
	q.DocSpans, q.Sources = append(q.DocSpans, [2]int32{0, 1}), append(q.Sources, "")
	for i, id := range ids {
		q.InputIDs = append(q.InputIDs, id)
		if i < max(answer, 1) {
			id = datasets.NoLoss
		}
		q.Labels = append(q.Labels, id)
	}
}

// trlRows reads the documents of a padded batch of a case: those of the mask of attention, with answers by the mask of completions.
func trlRows(f golden.File, ids, attention, completion string) (rows [][]int32, answers []int) {
	all, mask, shape := f.I64(ids), f.I64(attention), f.Shape(ids)
	var answer []int64
	if completion != "" {
		answer = f.I64(completion)
	}
	for r := range shape[0] {
		var row []int32
		at := -1
		for i := r * shape[1]; i < (r+1)*shape[1]; i++ {
			if mask[i] == 0 {
				continue
			}
			if at < 0 && answer != nil && answer[i] != 0 && answer[i] != datasets.NoLoss {
				at = len(row)
			}
			row = append(row, int32(all[i]))
		}
		rows, answers = append(rows, row), append(answers, max(at, 0))
	}
	return rows, answers
}

// trlData are the rows of a case, a pair or an answer a sequence.
func trlData(f golden.File, trainer string) (data Sequences) {
	switch trainer {
	case "cpo", "orpo":
		c, ca := trlRows(f, "batch.chosen_input_ids", "batch.chosen_attention_mask", "batch.chosen_labels")
		r, ra := trlRows(f, "batch.rejected_input_ids", "batch.rejected_attention_mask", "batch.rejected_labels")
		for i := range c {
			var q datasets.Sequence
			document(&q, c[i], ca[i])
			document(&q, r[i], ra[i])
			data = append(data, q)
		}
		return data
	case "kto":
		rows, answers := trlRows(f, "batch.input_ids", "batch.attention_mask", "batch.completion_mask")
		for i, label := range f.U8("batch.label") {
			q := datasets.Sequence{Values: map[string][]float32{datasets.ColumnLabel: {float32(label)}}}
			document(&q, rows[i], answers[i])
			data = append(data, q)
		}
		return data
	}
	if trainer == "gkd" { // labels say which tokens are answers
		rows, answers := trlRows(f, "batch.input_ids", "batch.attention_mask", "batch.labels")
		for i := range rows {
			var q datasets.Sequence
			document(&q, rows[i], answers[i])
			data = append(data, q)
		}
		return data
	}
	completion := "batch.completion_mask"
	if !f.Has(completion) {
		completion = ""
	}
	rows, answers := trlRows(f, "batch.input_ids", "batch.attention_mask", completion)
	for i := range len(rows) / 2 { // rows are all chosen, then all rejected
		var q datasets.Sequence
		document(&q, rows[i], answers[i])
		document(&q, rows[i+len(rows)/2], answers[i+len(rows)/2])
		if f.Has("batch.margin") {
			m := f.F32("batch.margin")[i]
			q.Values = map[string][]float32{datasets.ColumnMargin: {m, m}}
		}
		if trainer == "online_dpo" {
			r, e, n := f.F32("batch.rewards"), f.F32("batch.ended"), len(rows)/2
			q.Values = map[string][]float32{ColumnReward: {r[i], r[i+n]}, ColumnEnded: {e[i], e[i+n]}}
		}
		data = append(data, q)
	}
	return data
}

// trlTrainers are the objectives of the folders of golden/trl, by the word they begin with.
var trlTrainers = map[string]string{"dpo": "dpo", "kto": "kto", "cpo": "cpo", "simpo": "cpo", "alphapo": "cpo", "orpo": "orpo",
	"reward": "reward", "grpo": "grpo", "rloo": "rloo",
	"online": "online_dpo", "gkd": "gkd"}

// TestGoldenTRL: in testdata, and in the golden folder that ADAPTFLOW_GOLDEN names, the losses of preferences and rollouts, their metrics
// and every gradient are TRL's.
func TestGoldenTRL(t *testing.T) {
	roots := []string{"testdata"}
	if root := golden.Root(t, "testdata"); root != roots[0] {
		if _, err := os.Stat(filepath.Join(root, "trl")); err == nil {
			roots = append(roots, root)
		}
	}
	for _, root := range roots {
		ran := 0
		for _, name := range golden.Dirs(t, filepath.Join(root, "trl")) {
			word, _, _ := strings.Cut(name, "_")
			if trainer, ok := trlTrainers[word]; ok {
				ran++
				t.Run(name, func(t *testing.T) { trlCase(t, root, name, trainer) })
			}
		}
		if ran == 0 {
			t.Errorf("%s has no case", root)
		}
	}
}

// givenKL is KTO with the answers to other prompts that a case has.
type givenKL struct {
	*KTO
	f golden.File
}

// Prepare implements [Preparer].
func (o *givenKL) Prepare(b *Batch, p *Pass) error {
	rows, answers := trlRows(o.f, "batch.KL_input_ids", "batch.KL_attention_mask", "batch.KL_completion_mask")
	var q datasets.Sequence
	for i := range rows {
		document(&q, rows[i], answers[i])
	}
	other, err := (&goal{spec: Spec{}}).batch([]datasets.Sequence{q})
	if err != nil {
		return err
	}
	sum := 0.0
	for sign, slot := range map[float64]int{1: p.Slot, -1: -1} {
		for _, x := range p.Score(other.Step, slot) {
			sum += sign * float64(x)
		}
	}
	b.Kept = max(0, sum/float64(len(rows)))
	return nil
}

func trlCase(t *testing.T, root, name, trainer string) {
	dir := filepath.Join(root, "trl", name)
	meta := golden.JSON[map[string]any](t, filepath.Join(dir, "meta.json"))
	f := golden.Open(t, filepath.Join(dir, "expected.safetensors"))
	task := model.Task{}
	if trainer == "reward" {
		task = model.Task{Type: "SEQ_CLS", NumLabels: 1}
	}
	m := held(t, tiny("llama_gqa"), task)
	a, err := peft.Open(filepath.Join(root, filepath.FromSlash(meta["adapter"].(string))), nn.Sites(m), peft.Env{ModelType: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	var o Objective
	var data Sequences
	if trainer == "grpo" || trainer == "rloo" {
		o, data = rolloutObjective(t, trainer, meta), rolloutData(f, "batch.")
	} else {
		o, data = trlObjective(t, trainer, meta), trlData(f, trainer)
	}
	if x, ok := o.(Opener); ok && trainer == "gkd" {
		dir := filepath.Join(root, filepath.FromSlash(meta["teacher"].(string)))
		if err := x.Open(&Env{Job: &Job{Start: Start{Teachers: []string{dir}}, DType: "float32"}, Model: m}); err != nil {
			t.Fatal(err)
		}
		defer x.Close()
	}
	if name == "kto" { // whose answers to other prompts are not a rotation of its own
		o = &givenKL{o.(*KTO), f}
	}
	longest := 0
	for _, q := range data {
		longest = max(longest, len(q.InputIDs))
	}
	args := DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize, args.Stride = 1, len(data), 1
	params := nn.NewParams(1)
	defer params.Free()
	tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: longest, Sequences: len(data),
		Objective: o})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := a.Load(params); err != nil {
		t.Fatal(err)
	}
	got, err := tr.gradients(data, 0, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	want := float64(f.F32("loss")[0])
	if loss := got.loss / float64(got.items); math.Abs(loss-want) > 2e-5*max(1, math.Abs(want)/10) {
		t.Errorf("loss %g, TRL %g", loss, want)
	}
	metrics := tr.goal.means(got.metrics)
	theirs, _ := meta["metrics"].(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(theirs)) {
		w := theirs[k].(float64)
		k = strings.TrimPrefix(k, "eval_")
		if trainer != "dpo" && trainer != "kto" && strings.HasPrefix(k, "logits/") || k == "num_tokens" {
			continue // CPO's and ORPO's are over prompts and padding, too
		}
		x, ok := metrics[k]
		if _, online := o.(Sampler); online && !ok {
			continue // of the sampling, which is tested for itself
		}
		if d := math.Abs(x - w); !ok || d > 2e-5*max(1, math.Abs(w)) {
			t.Errorf("%s is %g (%v), TRL's %g", k, x, ok, w)
		}
	}
	if trainer == "kto" && theirs != nil && len(metrics) != len(theirs)-1 { // num_tokens
		t.Errorf("metrics %v, TRL's %v", metrics, theirs)
	}
	for _, k := range slices.Sorted(maps.Keys(metrics)) {
		if trainer == "online_dpo" && strings.HasPrefix(k, "objective/") {
			continue // TRL sums over padding, too
		}
		if _, ok := theirs[k]; !ok && theirs["eval_"+k] == nil && len(theirs) > 0 {
			t.Errorf("TRL has no %s", k)
		}
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
