package train

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// keyed are n sequences of a key, of different lengths.
func keyed(key, n int) Sequences {
	var out Sequences
	for i := range n {
		q := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprintf("%d/%d", key, i)}, DocSpans: [][2]int32{{0, 1}},
			Sources: []string{""}}
		for t := range 5 + (i*7+key*3)%11 {
			id := int32(3 + (i*37+key*101+t*t*11)%230)
			label := id
			if t == 0 || key == 2 && i == 0 { // a sequence without a loss
				label = datasets.NoLoss
			}
			q.InputIDs, q.Labels = append(q.InputIDs, id), append(q.Labels, label)
		}
		out = append(out, q)
	}
	return out
}

// TestKeysEqualAlone: keys that share each pass over the base end with the bytes of each key trained alone by a Trainer, whatever their
// numbers of sequences and steps, with dropout, accumulation and other optimisers too.
func TestKeysEqualAlone(t *testing.T) {
	m := llama(t)
	p := pool.New(2)
	defer p.Close()
	for _, c := range []struct {
		name, method string
		config       map[string]any
		args         func(*Args)
	}{
		{"lora", "LORA", map[string]any{"r": 4, "target_modules": "all-linear"}, func(*Args) {}},
		{"lora-dropout", "LORA", map[string]any{"r": 3, "target_modules": "all-linear", "lora_dropout": 0.2},
			func(a *Args) { a.GradientAccumulationSteps = 2 }},
		{"dora", "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj", "down_proj"}, "use_dora": true},
			func(a *Args) { a.MaxSteps = 5 }},
		{"ia3", "IA3", nil, func(a *Args) { a.Optim = "lion_32bit" }},
		{"adalora", "ADALORA", map[string]any{"target_modules": []string{"q_proj"}, "total_step": 6}, func(a *Args) { a.MaxSteps = 6 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := DefaultArgs()
			args.NumTrainEpochs, args.PerDeviceTrainBatchSize, args.LearningRate, args.MaxGradNorm, args.WarmupSteps = 2, 2, 1e-2, 0.5, 1
			c.args(&args)
			var jobs []KeyJob
			for k, n := range []int{3, 1, 6, 2, 4, 5} {
				jobs = append(jobs, KeyJob{Key: fmt.Sprint("key", k), Data: keyed(k, n)})
			}
			open := func() *peft.Adapter {
				a, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			a := open()
			var runs []KeyRun
			params := nn.NewParams(len(jobs))
			defer params.Free()
			if Groupable(a) != (c.name != "adalora") {
				t.Fatalf("Groupable is %v", Groupable(a))
			}
			if Groupable(a) {
				var err error
				if runs, err = TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p}, jobs); err != nil {
					t.Fatal(err)
				}
			} else if _, err := TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p}, jobs); err == nil ||
				!strings.Contains(err.Error(), "key by key") {
				t.Fatalf("a group of keys of %s: %v", c.method, err)
			}
			for i, job := range jobs {
				alone := nn.NewParams(1)
				defer alone.Free()
				b := open()
				tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{b}, Params: alone, SequenceLength: 16,
					Sequences: job.Data.Len()})
				if err != nil {
					t.Fatal(err)
				}
				var losses []float64
				for tr.Done() < tr.Total {
					info, err := tr.Step(job.Data, 0)
					if err != nil {
						t.Fatal(err)
					}
					losses = append(losses, info.Loss)
				}
				tr.Close()
				from, slot := params, i
				run := KeyRun{}
				if Groupable(a) {
					run = runs[i]
				} else { // one key at a time
					from, slot = nn.NewParams(1), 0
					defer from.Free()
					r, err := TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{open()}, Params: from, Pool: p}, jobs[i:i+1])
					if err != nil {
						t.Fatal(err)
					}
					run = r[0]
				}
				if run.Steps != len(losses) || run.Err != nil {
					t.Fatalf("%s: %d steps (%v), alone %d", job.Key, run.Steps, run.Err, len(losses))
				}
				for s := range losses {
					if math.Abs(losses[s]-run.Loss[s]) > 1e-9 {
						t.Errorf("%s: step %d has the loss %g, alone %g", job.Key, s+1, run.Loss[s], losses[s])
					}
				}
				moved := false
				for _, q := range alone.List() {
					init := make([]float32, q.Size())
					x := from.Get(q.Name).Slot(slot)
					for k, v := range q.Slot(0) {
						if x[k] != v {
							t.Fatalf("%s: %s[%d] is %g, alone %g", job.Key, q.Name, k, x[k], v)
						}
						moved = moved || v != init[k]
					}
				}
				if !moved {
					t.Errorf("%s: nothing was trained", job.Key)
				}
			}
		})
	}
}

// TestKeysFailAlone: a key whose loss is not finite fails, and the others of its group end with the bytes they have without it.
func TestKeysFailAlone(t *testing.T) {
	m := llama(t)
	args := DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize = 3, 2
	train := func(bad bool) (*nn.Params, []KeyRun) {
		a, err := peft.New("LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj"}}, nn.Sites(m),
			peft.Env{ModelType: "llama", Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		jobs := []KeyJob{{Key: "a", Data: keyed(0, 3)}, {Key: "b", Data: keyed(1, 3)}, {Key: "c", Data: keyed(2, 3)}}
		params := nn.NewParams(len(jobs))
		if bad { // an earlier adapter that overflows
			p1, err := a.NewParams(1)
			if err != nil {
				t.Fatal(err)
			}
			defer p1.Free()
			for _, q := range p1.List() {
				for i := range q.Data {
					q.Data[i] = 3e38
				}
			}
			dir := filepath.Join(t.TempDir(), "huge")
			if err := a.Save(dir, p1, 0, peft.Card{}); err != nil {
				t.Fatal(err)
			}
			if jobs[1].Init, err = peft.Open(dir, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1}); err != nil {
				t.Fatal(err)
			}
		}
		runs, err := TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params}, jobs)
		if err != nil {
			t.Fatal(err)
		}
		return params, runs
	}
	good, _ := train(false)
	defer good.Free()
	params, runs := train(true)
	defer params.Free()
	if runs[1].Err == nil || !strings.Contains(runs[1].Err.Error(), "1/") || runs[0].Err != nil || runs[2].Err != nil {
		t.Fatalf("errors %v, %v, %v", runs[0].Err, runs[1].Err, runs[2].Err)
	}
	for _, q := range good.List() {
		for _, slot := range []int{0, 2} {
			for k, v := range q.Slot(slot) {
				if x := params.Get(q.Name).Slot(slot)[k]; x != v {
					t.Fatalf("slot %d: %s[%d] is %g beside a failed key, %g else", slot, q.Name, k, x, v)
				}
			}
		}
	}
}
