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
			d.held = d.norms(nil, params.Get(p.a.Name).Data, params.Get(p.b.Name).Data, make([]float32, d.scratch()),
				make([]float32, d.out))
		}
	}
}

// ChangedBase is the weight [out, in] that the starting values make of a module's.
func ChangedBase(a *Adapter, name string) []float32 {
	to := a.Method.(*lora).pairs[name].base.to
	out, in := to.Dims()
	w := make([]float32, out*in)
	to.Dense(w)
	return w
}
