package peft

import "github.com/adaptflow/adaptflow/nn"

// HoldNorms makes the norms of a DoRA adapter constants, as its gradients take them: those of the values in params.
func HoldNorms(a *Adapter, params *nn.Params) {
	l, ok := a.Method.(*lora)
	if !ok {
		return
	}
	for _, p := range l.pairs {
		if d := p.dora; d != nil {
			d.held = nil
			d.held = d.norms(nil, params.Get(p.a.Name).Data, params.Get(p.b.Name).Data, make([]float32, d.scratch()), make([]float32, d.out))
		}
	}
}
