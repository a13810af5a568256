package train

import (
	"fmt"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TrainedCount is the number of values that training with the settings moves: the adapter's, without the factors that the optimiser
// freezes.
func TrainedCount(args *Args, a *peft.Adapter) (int, error) {
	pairs, err := Freeze(args, []nn.Adapter{a}, nn.NewParams(1))
	if err != nil {
		return 0, err
	}
	frozen := map[string]bool{}
	for _, f := range pairs {
		frozen[f.A] = true
	}
	n := 0
	for _, p := range a.Params() {
		if !frozen[p.Name] {
			n += p.Size()
		}
	}
	return n, nil
}

// Trainable says why an adapter cannot be trained on shards with the settings, nil where it can.
func Trainable(args *Args, a *peft.Adapter) error {
	if m, ok := a.Method.(interface{ Tasks() int }); ok && m.Tasks() > 1 {
		return fmt.Errorf("train: %s has num_tasks = %d, but prepared sequences do not say the task of a document: use num_tasks = 1",
			a.Type(), m.Tasks())
	}
	if _, ok := a.Method.(peft.Stepper); ok && args.Mode == "local" {
		return fmt.Errorf("train: %s allocates its ranks after each optimiser step, which replicas of mode local take apart; "+
			"use mode: sync", a.Type())
	}
	_, steps := a.Method.(peft.Stepper)
	if _, adds := a.Method.(peft.Regulariser); (steps || adds) && args.OptimizerShards > 1 {
		return fmt.Errorf("train: %s looks at all parameters in each optimiser step, which shards of its state do not have: set "+
			"optimizer_shards to 1", a.Type())
	}
	_, err := Freeze(args, []nn.Adapter{a}, nn.NewParams(1))
	return err
}

// useMethods finds what the adapters' methods do beside their gradients: a term of the loss, a step after the optimiser's.
func (l *loop) useMethods(adapters []nn.Adapter) error {
	for _, a := range adapters {
		adapter, ok := a.(*peft.Adapter)
		if !ok {
			continue
		}
		if err := Trainable(l.args, adapter); err != nil {
			return err
		}
		if m, ok := adapter.Method.(peft.Regulariser); ok {
			l.terms = append(l.terms, m)
		}
		if m, ok := adapter.Method.(peft.Stepper); ok {
			state, err := m.State()
			if err != nil {
				return err
			}
			l.steppers, l.fresh = append(l.steppers, m), append(l.fresh, state)
		}
	}
	return nil
}
