package train

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// trainerRuns are runs of Hugging Face's Trainer: see interop/golden/epochs.py.
type trainerRuns struct {
	Rows []struct {
		IDs    []int32 `json:"ids"`
		Masked int     `json:"masked"`
	} `json:"rows"`
	Cases []struct {
		N          int     `json:"n"`
		Batch      int     `json:"batch"`
		Accumulate int     `json:"accumulate"`
		Epochs     float64 `json:"epochs"`
		MaxSteps   int     `json:"max_steps"`
		DropLast   bool    `json:"drop_last"`
		Steps      int     `json:"steps"`
		trajectory
	} `json:"cases"`
	Counts [][7]int `json:"counts"` // n, batch, accumulation, replicas, drop_last, steps an epoch, steps of 2.5 epochs
}

func (g *trainerRuns) data(n int) (out Sequences) {
	for i, r := range g.Rows[:n] {
		q := datasets.Sequence{InputIDs: r.IDs, Labels: slices.Clone(r.IDs), DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(i)},
			DocSpans: [][2]int32{{}}, Sources: []string{""}}
		for t := range r.Masked + 1 {
			q.Labels[t] = datasets.NoLoss
		}
		out = append(out, q)
	}
	return out
}

// TestGoldenEpochs trains over epochs that do not fill their last batches, as Hugging Face's Trainer did: every loss, gradient norm and
// learning rate.
func TestGoldenEpochs(t *testing.T) {
	dir := "testdata/epochs"
	g := golden.JSON[trainerRuns](t, filepath.Join(dir, "trainer.json"))
	m := llama(t)
	p := pool.New(1)
	defer p.Close()
	for i, c := range g.Cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			a, err := peft.Open(filepath.Join(dir, "adapter"), nn.Sites(m), peft.Env{ModelType: "llama"})
			if err != nil {
				t.Fatal(err)
			}
			args := DefaultArgs()
			args.LearningRate, args.WarmupSteps, args.PerDeviceTrainBatchSize, args.GradientAccumulationSteps = 5e-3, 1,
				c.Batch, c.Accumulate
			args.NumTrainEpochs, args.MaxSteps, args.DataloaderDropLast = c.Epochs, c.MaxSteps, c.DropLast
			params := nn.NewParams(1)
			defer params.Free()
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p,
				SequenceLength: 16, Sequences: c.N})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := a.Load(params); err != nil {
				t.Fatal(err)
			}
			if tr.Total != c.Steps {
				t.Fatalf("%d steps, Trainer takes %d", tr.Total, c.Steps)
			}
			c.trajectory.steps(t, tr, g.data(c.N))
		})
	}
}

// TestEpochSteps counts steps as transformers and accelerate do, and takes each sequence of an epoch once, whatever shares it.
func TestEpochSteps(t *testing.T) {
	g := golden.JSON[trainerRuns](t, "testdata/epochs/trainer.json")
	for _, c := range g.Counts {
		a := DefaultArgs()
		a.PerDeviceTrainBatchSize, a.GradientAccumulationSteps, a.Replicas, a.DataloaderDropLast, a.NumTrainEpochs = c[1], c[2],
			c[3], c[4] == 1, 2.5
		if got := a.perEpoch(c[0]); got != c[5] {
			t.Errorf("%v: %d steps an epoch", c, got)
		}
		if got := a.StepsFor(c[0]); got != c[6] {
			t.Errorf("%v: %d steps", c, got)
		}
		o := NewOrder(&a, c[0])
		for e := range 2 {
			var seen []int
			for s := range c[5] {
				for r := range c[3] {
					for _, m := range o.Batch(e*c[5]+s, r) {
						if len(m) == 0 || len(m) > c[1] {
							t.Errorf("%v: a micro-batch of %d", c, len(m))
						}
						seen = append(seen, m...)
					}
				}
			}
			slices.Sort(seen)
			if want := a.used(c[0]); len(seen) != want || len(slices.Compact(seen)) != want {
				t.Errorf("%v: epoch %d takes %d of %d sequences: %v", c, e, len(seen), want, seen)
			}
		}
	}
	// In mode local replicas take turns, and no turn is empty.
	a := DefaultArgs()
	a.Mode, a.Replicas, a.PerDeviceTrainBatchSize, a.GradientAccumulationSteps = "local", 3, 2, 2
	o, n := NewOrder(&a, 7), map[int]int{}
	for step := range 4 {
		for r := range 3 {
			k := 0
			for _, m := range o.Batch(step, r) {
				k += len(m)
				for _, i := range m {
					n[i]++
				}
			}
			if want := []int{4, 3}[(step*3+r)%2]; k != want {
				t.Errorf("step %d, replica %d: %d sequences, want %d", step, r, k, want)
			}
		}
	}
	for i := range 7 {
		if n[i] != 6 {
			t.Errorf("sequence %d is taken %d times in six epochs", i, n[i])
		}
	}
}

// TestWrappedOrder: a run that was begun in the order of earlier versions keeps it, as a stride does.
func TestWrappedOrder(t *testing.T) {
	a := DefaultArgs()
	a.Order, a.PerDeviceTrainBatchSize, a.NumTrainEpochs = OrderWrapped, 3, 2
	if n := a.StepsFor(7); n != 5 {
		t.Errorf("%d steps", n)
	}
	o := NewOrder(&a, 7)
	if got, want := fmt.Sprint(o.Batch(0, 0), o.Batch(2, 0)), "[[1 4 6]] [[2 2 4]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a.Order, a.Stride = OrderEpochs, 2
	if got, want := fmt.Sprint(NewOrder(&a, 7).Batch(1, 0)), "[[6 1 3]]"; got != want {
		t.Errorf("stride: %s, want %s", got, want)
	}
	raw := DefaultArgs()
	raw.DataloaderDropLast, raw.PerDeviceTrainBatchSize = true, 8
	if err := raw.batches(7); err == nil || !strings.Contains(err.Error(), "dataloader_drop_last") {
		t.Errorf("no batch: %v", err)
	}
}
