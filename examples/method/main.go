// Method trains with a method of its own, and opens the adapter's folder again: go run ./examples/method MODEL-FOLDER ADAPTER-FOLDER
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

func init() { peft.Register(peft.Row{Type: "BENT", New: func() peft.Method { return &bent{} }}) }

// bent adds B·silu(A·x) to the output of linear layers, with trained A [r, in] and B [out, r]: LoRA with an activation.
type bent struct {
	peft.Tuner
	cfg struct {
		peft.Common
		peft.TargetFields
		R int `json:"r" help:"rank"`
	}
}

func (m *bent) Config() any { return &m.cfg }
func (m *bent) Attach(sites []nn.Site, env peft.Env) error {
	return m.Tune("BENT", &m.cfg, sites, env, func(l *peft.Layer) (peft.Wire, error) {
		l.Param("bent_A", l.Uniform("bent_A", env.Seed, l.In), m.cfg.R, l.In)
		l.Param("bent_B", nil, l.Out, m.cfg.R)
		return func(b *nn.Builder, s nn.Site, p []nn.Ref) nn.Ref {
			h := b.Apply(&nn.Activation{Act: kernels.SiLU}, b.Apply(&nn.Linear{In: l.In, Out: m.cfg.R, TrainW: true}, s.In[0], p[0]))
			return b.Apply(nn.Add{}, s.Out, b.Apply(&nn.Linear{In: m.cfg.R, Out: l.Out, TrainW: true}, h, p[1]))
		}, nil
	})
}

func main() {
	base, out, text := os.Args[1], os.Args[2], "The ferry leaves at seven."
	m, ids := must(train.Base(base, "float32")), must(must(tokenize.Load(base)).Encode(text, false)).IDs
	a := must(train.OpenAdapter(m, "", "BENT", map[string]any{"r": 4, "target_modules": "all-linear"}, base, 42))
	args, params := train.DefaultArgs(), nn.NewParams(1)
	args.LearningRate, args.MaxSteps, args.PerDeviceTrainBatchSize = 5e-3, 20, 1
	setup := train.Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, SequenceLength: len(ids), Sequences: 1}
	for t := must(train.NewTrainer(args, setup)); t.Done() < t.Total; {
		must(t.Step(train.Sequences{{InputIDs: ids, Labels: ids, DocStarts: []int32{0}}}, 0))
	}
	must(out, a.Save(out, params, 0, peft.Card{}))
	fmt.Printf("%q: log-probability %.1f\n", text, must(must(infer.Load(base, "", out)).Score(text))[0].Sum())
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
