package train

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// masked is sequences whose labels are all masked.
func masked(seqs Sequences) Sequences {
	for i := range seqs {
		seqs[i].Labels = make([]int32, len(seqs[i].InputIDs))
		for t := range seqs[i].Labels {
			seqs[i].Labels[t] = datasets.NoLoss
		}
	}
	return seqs
}

// TestSilentSteps: a step in which no token has a loss is an error that names the documents, in every mode; a part of a step may be silent.
func TestSilentSteps(t *testing.T) {
	m := llama(t)
	p := pool.New(1)
	defer p.Close()
	open := func() *peft.Adapter {
		a, err := peft.New("LORA", map[string]any{"r": 2, "target_modules": "all-linear"}, nn.Sites(m),
			peft.Env{ModelType: "llama", Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, c := range []struct {
		name string
		data Sequences
		set  func(*Args)
		want string // "" for a step
	}{
		{"one replica", masked(keyed(0, 4)), func(*Args) {}, "no token of its batch has a loss"},
		{"accumulated", masked(keyed(0, 4)), func(a *Args) { a.GradientAccumulationSteps = 2 }, "no token of its batch has a loss"},
		{"local", masked(keyed(0, 4)), func(a *Args) { a.Mode, a.Replicas = "local", 2 }, "no token of its batch has a loss"},
		{"one micro-batch of two", append(masked(keyed(0, 2)), keyed(1, 2)...),
			func(a *Args) { a.GradientAccumulationSteps, a.Stride = 2, 1 }, ""},
		{"one replica of two", append(masked(keyed(0, 2)), keyed(1, 2)...), func(a *Args) { a.Replicas, a.Stride = 2, 1 }, ""},
		{"a run of an earlier version", masked(keyed(0, 4)), func(a *Args) { a.Order = OrderWrapped }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := DefaultArgs()
			args.PerDeviceTrainBatchSize, args.MaxSteps = 2, 2
			c.set(&args)
			params := nn.NewParams(1)
			defer params.Free()
			tr, err := NewTrainer(args, Setup{Wiring: m, Adapters: []nn.Adapter{open()}, Params: params, Pool: p, SequenceLength: 16,
				Sequences: len(c.data)})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			_, err = tr.Step(c.data, 0)
			if c.want == "" && err != nil || c.want != "" &&
				(err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.data[0].DocIDs[0])) {
				t.Errorf("%v", err)
			}
		})
	}
	args := DefaultArgs()
	args.PerDeviceTrainBatchSize, args.MaxSteps = 2, 2
	params := nn.NewParams(2)
	defer params.Free()
	runs, err := TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{open()}, Params: params, Pool: p},
		[]KeyJob{{Key: "silent", Data: masked(keyed(0, 3))}, {Key: "heard", Data: keyed(1, 3)}})
	if err != nil {
		t.Fatal(err)
	}
	if runs[0].Err == nil || runs[0].Steps != 0 || runs[1].Err != nil || runs[1].Steps != 2 {
		t.Errorf("%+v", runs)
	}
}

// TestSilentSequences: of shards, sequences without a loss are passed over, and do not count; runs of earlier versions take them.
func TestSilentSequences(t *testing.T) {
	path := filepath.Join(t.TempDir(), "train.parquet")
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: 16})
	if err != nil {
		t.Fatal(err)
	}
	all := keyed(0, 5)
	masked(all[1:3])
	for i := range all {
		if err := w.Write(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	args := DefaultArgs()
	for order, want := range map[int][]int{OrderEpochs: {0, 3, 4}, OrderWrapped: {0, 1, 2, 3, 4}} {
		args.Order = order
		s, err := OpenTraining(&args, []string{path})
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != len(want) {
			t.Fatalf("%d sequences", s.Len())
		}
		for i, k := range want {
			if q, err := s.Sequence(i); err != nil || q.DocIDs[0] != all[k].DocIDs[0] {
				t.Errorf("sequence %d is %v, want %v (%v)", i, q.DocIDs, all[k].DocIDs, err)
			}
		}
		s.Close()
	}
}
