package pipelines

import (
	"fmt"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/templates/assets"
	core "github.com/adaptflow/adaptflow/train"
)

// BenchmarkKeys trains the same keys in a group and one after another, with the model loaded once, at several numbers of tokens a key and step.
func BenchmarkKeys(b *testing.B) {
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		b.Fatal(err)
	}
	m, err := core.Base(dir, "float32")
	if err != nil {
		b.Fatal(err)
	}
	p := pool.New(0)
	defer p.Close()
	const steps = 3
	args := core.DefaultArgs()
	args.MaxSteps, args.PerDeviceTrainBatchSize = steps, 1
	open := func() []nn.Adapter {
		a, err := peft.New("LORA", map[string]any{"r": 4, "target_modules": []string{"q_proj", "v_proj"}}, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
		if err != nil {
			b.Fatal(err)
		}
		return []nn.Adapter{a}
	}
	for _, tokens := range []int{8, 16, 64, 512} {
		keys := max(4, min(64, 2048/tokens))
		var jobs []core.KeyJob
		for k := range keys {
			q := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(k)}, DocSpans: [][2]int32{{0, 1}}, Sources: []string{""}}
			for t := range tokens {
				id := int32((k*101 + t*t*11) % 4000)
				q.InputIDs, q.Labels = append(q.InputIDs, id), append(q.Labels, id)
			}
			q.Labels[0] = datasets.NoLoss
			jobs = append(jobs, core.KeyJob{Key: fmt.Sprint(k), Data: core.Sequences{q}})
		}
		rate := func(b *testing.B) { b.ReportMetric(float64(b.N*keys*tokens*steps)/b.Elapsed().Seconds(), "tokens/s") }
		b.Run(fmt.Sprintf("group/tokens=%d", tokens), func(b *testing.B) {
			for range b.N {
				params := nn.NewParams(keys)
				if _, err := core.TrainKeys(args, core.Setup{Wiring: m, Adapters: open(), Params: params, Pool: p}, jobs); err != nil {
					b.Fatal(err)
				}
				params.Free()
			}
			rate(b)
		})
		b.Run(fmt.Sprintf("alone/tokens=%d", tokens), func(b *testing.B) {
			for range b.N {
				for _, j := range jobs {
					params := nn.NewParams(1)
					t, err := core.NewTrainer(args, core.Setup{Wiring: m, Adapters: open(), Params: params, Pool: p, SequenceLength: tokens, Sequences: 1})
					if err != nil {
						b.Fatal(err)
					}
					for range steps {
						if _, err := t.Step(j.Data, 0); err != nil {
							b.Fatal(err)
						}
					}
					t.Close()
					params.Free()
				}
			}
			rate(b)
		})
	}
}
