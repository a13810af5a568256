package train

import (
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestSharedPrompts: with prompts computed once the log-probabilities, and so loss and metrics, are those of each document alone to the
// bit, the gradients are theirs within the tolerance of the goldens, and where dropout is on nothing is shared.
func TestSharedPrompts(t *testing.T) {
	key := philox.NewKey(5, "shared prompts", "")
	ids := func(n, seed int) (out []int32) {
		for i := range n {
			out = append(out, int32(key.At(uint64(seed), uint64(i))[0]%60))
		}
		return out
	}
	for _, c := range []struct {
		name     string
		settings map[string]any
		dropout  float64
	}{{"dpo", map[string]any{"loss_type": []string{"sigmoid", "sft"}, "use_weighting": true}, 0.1}, {"cpo", nil, 0}, {"orpo", nil, 0},
		{"kto", nil, 0}, {"reward", nil, 0}, {"grpo", map[string]any{"beta": 0.1, "temperature": 0.8}, 0}, {"rloo", nil, 0},
		{"grpo", nil, 0.1}} {
		o, err := NewObjective(c.name, c.settings)
		if err != nil {
			t.Fatal(err)
		}
		var data Sequences
		for i := range 4 { // the prompts of neighbours are the same where answers are single
			prompt := ids(13, i/2)
			var q datasets.Sequence
			document(&q, slices.Concat(prompt, ids(4+i, 10+i)), len(prompt))
			if o.Spec().Group == 2 {
				document(&q, slices.Concat(prompt, ids(7-i, 20+i)), len(prompt))
			}
			q.Values = map[string][]float32{}
			for _, col := range o.Spec().Columns {
				n := len(q.DocStarts)
				if col.PerToken {
					n = len(q.InputIDs)
				}
				for k := range n {
					q.Values[col.Name] = append(q.Values[col.Name], float32(i%2)-0.4*float32(k%2))
				}
				if col.Name == ColumnMasked {
					clear(q.Values[col.Name])
				}
			}
			data = append(data, q)
		}
		task := model.Task{}
		if c.name == "reward" {
			task = model.Task{Type: "SEQ_CLS", NumLabels: 1}
		}
		m := held(t, tiny("llama_gqa"), task)
		config := map[string]any{"r": 4, "target_modules": "all-linear", "lora_dropout": c.dropout}
		if task.Type != "" {
			config["task_type"] = task.Type
		}
		a, err := peft.New("LORA", config,
			nn.Sites(m), peft.Env{ModelType: "llama"})
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			tally
			tokens int
			grads  map[string][]float32
		}
		run := func(shared string) (r result) {
			args := DefaultArgs()
			args.MaxSteps, args.PerDeviceTrainBatchSize, args.Stride, args.SharedPrompts = 1, len(data), 1, shared
			params := nn.NewParams(1)
			defer params.Free()
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: 48,
				Sequences: len(data), Objective: o})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := a.Initial(params, 0); err != nil {
				t.Fatal(err)
			}
			for _, q := range params.List() {
				philox.NewKey(6, "values", q.Name).FillNormal(q.Data, 0, 0.05)
			}
			if r.tally, err = tr.gradients(data, 0, func() bool { return false }); err != nil {
				t.Fatal(err)
			}
			b, err := tr.goal.batch(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range tr.goal.parts(b, tr.prog, true) {
				r.tokens += len(p.Step.Tokens)
			}
			r.grads = map[string][]float32{}
			for _, q := range params.List() {
				r.grads[q.Name] = slices.Clone(q.Grad)
			}
			return r
		}
		off, on := run(""), run(SharedAuto)
		name := c.name
		if c.dropout > 0 && !o.Spec().NoDropout {
			if on.tokens != off.tokens {
				t.Errorf("%s: prompts are shared though dropout is on", name)
			}
			continue
		}
		if saved := off.tokens - on.tokens; saved < 2*12 {
			t.Errorf("%s: %d tokens of %d are left out", name, saved, off.tokens)
		}
		if math.Float64bits(on.loss) != math.Float64bits(off.loss) || !slices.Equal(on.metrics, off.metrics) {
			t.Errorf("%s: loss %g and metrics %v with shared prompts, %g and %v alone", name, on.loss, on.metrics, off.loss, off.metrics)
		}
		for p, g := range off.grads {
			if d := golden.RelDiff(on.grads[p], g); !(d <= 1e-4) {
				t.Errorf("%s: the gradient of %s is %.2e away", name, p, d)
			}
		}
	}
}
