package train

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// trlRun is a run of a trl_runs.json, of which the settings are read as those of a case.
type trlRun struct {
	Objective    string
	Steps        int
	Batch        int
	Accumulation int
	MaxLength    int             `json:"max_length"`
	Weights      []float64       `json:"loss_weights"`
	Rollouts     bool            `json:"rollouts"`
	Rates        []float64       `json:"learning_rates"`
	Curve        [][2]float64    `json:"loss_and_grad_norm"`
	Metrics      []trlNumbers    `json:"metrics"`
	Before       trlNumbers      `json:"eval_before"`
	After        trlNumbers      `json:"eval_after"`
	WeightDecay  float64         `json:"weight_decay"`
	Model        string          `json:"model"`
	Raw          json.RawMessage `json:"-"`
}

type trlNumbers map[string]float64

// trlRowsFile is the rows.json of a run.
type trlRowsFile struct{ Train, Eval []trlRow }

type trlRow struct {
	Prompt       []int32 `json:"prompt_ids"`
	Chosen       []int32 `json:"chosen_ids"`
	Rejected     []int32 `json:"rejected_ids"`
	Completion   []int32 `json:"completion_ids"`
	Label        bool    `json:"label"`
	ChosenIDs    []int32 `json:"chosen_input_ids"`
	ChosenLabels []int32 `json:"chosen_labels"`
	RejectedIDs  []int32 `json:"rejected_input_ids"`
	RejectLabels []int32 `json:"rejected_labels"`
}

// sequence is a row as a sequence, cut at length tokens a document.
func (r *trlRow) sequence(length int) (q datasets.Sequence) {
	add := func(ids []int32, answer int) { document(&q, ids[:min(len(ids), length)], answer) }
	masked := func(labels []int32) (n int) {
		for n < len(labels) && labels[n] == datasets.NoLoss {
			n++
		}
		return n
	}
	switch {
	case r.ChosenIDs != nil:
		add(r.ChosenIDs, masked(r.ChosenLabels))
		add(r.RejectedIDs, masked(r.RejectLabels))
	case r.Completion != nil:
		document(&q, slices.Concat(r.Prompt, r.Completion), len(r.Prompt)) // KTO cuts itself
		q.Values = map[string][]float32{datasets.ColumnLabel: {0}}
		if r.Label {
			q.Values[datasets.ColumnLabel][0] = 1
		}
	default:
		add(slices.Concat(r.Prompt, r.Chosen), len(r.Prompt))
		add(slices.Concat(r.Prompt, r.Rejected), len(r.Prompt))
	}
	return q
}

// TestReferenceTRL repeats the runs of real TRL trainers of the folder that ADAPTFLOW_TRL_RUNS names, from their first values and rows:
// each of the first 20 losses within 1e-4, gradient norms within 1e-3, the trainer's own metrics and evaluations within 0.005.
// Runs over rollouts are repeated from those that are stored.
func TestReferenceTRL(t *testing.T) {
	dir := os.Getenv("ADAPTFLOW_TRL_RUNS")
	if dir == "" {
		t.Skip("ADAPTFLOW_TRL_RUNS names no folder with a trl_runs.json")
	}
	dir = golden.Resolve(t, dir)
	doc := golden.JSON[struct{ Runs map[string]json.RawMessage }](t, filepath.Join(dir, "trl_runs.json"))
	ran := 0
	for _, name := range slices.Sorted(maps.Keys(doc.Runs)) {
		var r trlRun
		if err := json.Unmarshal(doc.Runs[name], &r); err != nil {
			t.Fatal(err)
		}
		r.Raw = doc.Runs[name]
		ran++
		t.Run(name, func(t *testing.T) { repeatTRL(t, dir, name, &r) })
	}
	if ran == 0 {
		t.Error("no run was repeated")
	}
}

// trlBase is the folder of the base of a run.
func trlBase(dir string, r *trlRun) string {
	name := r.Model
	if name == "" {
		name = "lm-en-5m"
	}
	for up := dir; ; up = filepath.Dir(up) {
		for _, p := range []string{filepath.Join(up, name), filepath.Join(up, "models", name)} {
			if _, err := os.Stat(filepath.Join(p, "config.json")); err == nil {
				return p
			}
		}
		if up == filepath.Dir(up) {
			return name
		}
	}
}

func repeatTRL(t *testing.T, dir, name string, r *trlRun) {
	var meta map[string]any
	if err := json.Unmarshal(r.Raw, &meta); err != nil {
		t.Fatal(err)
	}
	task := model.Task{}
	if r.Objective == "reward" {
		task = model.Task{Type: "SEQ_CLS", NumLabels: 1}
	}
	m := held(t, trlBase(dir, r), task)
	a, err := peft.Open(filepath.Join(dir, "reference", name, "init"), nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
	if err != nil {
		t.Fatal(err)
	}
	delete(meta, "alpha") // LoRA's
	var o Objective
	if r.Rollouts {
		o = rolloutObjective(t, r.Objective, meta)
	} else {
		o = trlObjective(t, r.Objective, meta)
	}
	length := r.MaxLength
	if r.Objective == "reward" {
		length = math.MaxInt // longer ones are left out
	}
	if k, ok := o.(*KTO); ok {
		k.MaxLength, k.block = r.MaxLength, r.Batch // TRL's blocks, of evaluations too
	}
	var rows trlRowsFile
	var data, eval Sequences
	longest := 0
	if r.Rollouts {
		f := golden.Open(t, filepath.Join(dir, "reference", name, "rollouts.safetensors"))
		for s := range r.Steps {
			data = append(data, rolloutData(f, fmt.Sprintf("step.%d.", s))...)
		}
		for _, q := range data {
			longest = max(longest, len(q.InputIDs))
		}
	} else {
		rows = golden.JSON[trlRowsFile](t, filepath.Join(dir, "reference", name, "rows.json"))
	}
	for i, from := range [][]trlRow{rows.Train, rows.Eval} {
		for _, row := range from {
			q := row.sequence(length)
			longest = max(longest, len(q.InputIDs))
			if i == 0 {
				data = append(data, q)
			} else {
				eval = append(eval, q)
			}
		}
	}
	p := pool.New(0)
	defer p.Close()
	params := nn.NewParams(1)
	defer params.Free()
	args := DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize, args.GradientAccumulationSteps, args.Stride = r.Steps, r.Batch, max(1, r.Accumulation), 1
	args.WeightDecay, args.LearningRate = r.WeightDecay, 1
	tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p, SequenceLength: longest,
		Sequences: len(data), Objective: o, Schedule: func(s, _ int) float64 { return r.Rates[s] }})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := a.Load(params); err != nil {
		t.Fatal(err)
	}
	sc, err := newScorer(m, []nn.Adapter{a}, params, p, 4*longest, tr.goal)
	if err != nil {
		t.Fatal(err)
	}
	defer sc.Close()
	evaluate := func(when string, want trlNumbers) {
		if want == nil {
			return
		}
		got, n := trlNumbers{}, map[string]float64{}
		for from := 0; from < len(eval); from += 4 { // batches of 4, of which TRL takes the mean
			seqs := eval[from:min(from+4, len(eval))]
			x, err := sc.loss(seqs, 0)
			if err != nil {
				t.Fatal(err)
			}
			got["loss"] += x.loss / float64(x.items) * float64(len(seqs)) / float64(len(eval)) // the Trainer's, by rows
			for k, v := range tr.goal.means(x.metrics) {
				got[k] += v
				n[k]++
			}
		}
		for k, v := range n {
			got[k] /= v
		}
		compareTRL(t, when, r, got, want, "eval_", 0.005)
	}
	evaluate("before", r.Before)
	worst, norms := 0.0, 0.0
	for i := range min(r.Steps, 20) {
		info, err := tr.Step(data, 0)
		if err != nil {
			t.Fatal(err)
		}
		d, g := math.Abs(info.Loss-r.Curve[i][0]), math.Abs(info.GradNorm-r.Curve[i][1])
		worst, norms = max(worst, d), max(norms, g)
		if !(d <= 1e-4) || !(g <= 1e-3) {
			t.Errorf("step %d: loss %.7f, norm %.6f; TRL has %.7f and %.6f", i+1, info.Loss, info.GradNorm, r.Curve[i][0], r.Curve[i][1])
		}
		if i < len(r.Metrics) {
			compareTRL(t, "step", r, info.Metrics, r.Metrics[i], "", 0.005)
		}
	}
	for range r.Steps - 20 {
		if _, err := tr.Step(data, 0); err != nil {
			t.Fatal(err)
		}
	}
	evaluate("after", r.After)
	t.Logf("largest difference of losses %.1e, of gradient norms %.1e", worst, norms)
}

// compareTRL compares the metrics that both have a name for.
func compareTRL(t *testing.T, when string, r *trlRun, got, want trlNumbers, prefix string, tolerance float64) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if strings.HasPrefix(k, "logits/") && (r.Objective == "cpo" || r.Objective == "orpo") {
			continue // theirs are over prompts and padding, too
		}
		w, ok := want[prefix+k]
		if !ok || math.Abs(got[k]-w) > tolerance {
			t.Errorf("%s: %s is %.5f, TRL's %.5f (%v)", when, k, got[k], w, ok)
		}
	}
}
