package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
)

// evaBatches bounds the training batches that an adapter is initialised from; they are gone over again where the directions still turn.
const evaBatches = 1024

// initialised refuses an adapter that still needs data to start from, which would train from other values than its configuration says.
func initialised(a *peft.Adapter) error {
	if a.NeedsData() {
		return errors.New("train: the adapter starts from the activations of data (init_lora_weights: eva), which a run of one adapter " +
			"gathers from its training data; " +
			"elsewhere initialise it first and give its folder as init_adapter, or use another init_lora_weights")
	}
	return nil
}

// InitializeAdapter gives an adapter that starts from data (peft.Adapter.NeedsData: EVA) its starting values from the first batches of
// training, in the order in which training takes them, and writes its folder, from which the job then starts (Job.InitAdapter). The result
// depends on what the training depends on, not on the number of threads. say, if not nil, hears how far it is after 1, 2, 4, … 64 batches
// and then after each 64.
func InitializeAdapter(ctx context.Context, a *peft.Adapter, m *model.Model, args *Args, data Data, threads *pool.Pool, dir string,
	say func(string)) error {
	var batches []peft.EvaBatch
	for _, micro := range firstBatches(args, data.Len(), evaBatches) {
		seqs, err := sequences(data, micro)
		if err != nil {
			return err
		}
		step, err := StepFrom(seqs)
		if err != nil {
			return err
		}
		b := peft.EvaBatch{Step: step}
		if a.EVA().UseLabelMask && m.Config.NumLabels == 0 { // a class is not a label of a token
			for _, q := range seqs {
				for _, l := range q.Labels {
					b.Keep = append(b.Keep, int(l) != a.EVA().LabelMaskValue)
				}
			}
		}
		batches = append(batches, b)
	}
	note := func(at peft.EvaProgress) error {
		if done := at.Batch - 1; say != nil && done > 0 && (done%64 == 0 || done < 64 && done&(done-1) == 0) {
			say(fmt.Sprintf("initialising: %d batches (at most %d), the directions of %d of %d inputs stand still", done, at.Most,
				at.Still, at.Inputs))
		}
		return ctx.Err()
	}
	if err := a.InitializeEVA(m, threads, batches, note); err != nil {
		return err
	}
	params, err := a.NewParams(1)
	if err != nil {
		return err
	}
	defer params.Free()
	return a.Save(dir, params, 0, peft.Card{})
}

// firstBatches are the first micro-batches of a training over n sequences in the order in which it takes them, those of all its steps or at
// most limit.
func firstBatches(args *Args, n, limit int) (out [][]int) {
	order, steps := NewOrder(args, n), args.StepsFor(n)
	if args.Mode == "local" { // replicas take turns: as many batches as one of them takes
		limit = min(limit, steps*args.GradientAccumulationSteps)
	}
	for step := range steps {
		for r := range args.Replicas {
			for _, micro := range order.Batch(step, r) {
				if len(out) == limit {
					return out
				}
				out = append(out, micro)
			}
		}
	}
	return out
}
