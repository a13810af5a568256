package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Merge returns the tensors of the base that the adapter in a slot of params changes, by HF tensor name, in the layout in which the base
// stores them. base returns a tensor of the base by that name; nil takes the weights of the sites. A method that cannot be merged is an
// error. Where the head shares the embedding's weight and the adapter changes one of them, or each in its own way, the tensors of both are
// there, and the merged model is one whose weights are not tied.
func (a *Adapter) Merge(params *nn.Params, slot int, base func(tensor string) ([]float32, error)) (map[string][]float32, error) {
	return a.merge(params, slot, base, nil)
}

func (a *Adapter) merge(params *nn.Params, slot int, base func(tensor string) ([]float32, error),
	want Wanted) (map[string][]float32, error) {
	m, value, err := a.merger(params, slot)
	if err != nil {
		return nil, err
	}
	if a.env.Tied {
		return a.mergeTied(m, value, a.stored(base), want)
	}
	return m.Merge(value, a.stored(base), want)
}

// MergeShare is Merge of a share of what the adapter changes: each tensor is base + weight·(merged - base), the interpolation of WiSE-FT
// (Wortsman et al. 2022, arXiv:2109.01903). A weight of 1 is Merge.
func (a *Adapter) MergeShare(params *nn.Params, slot int, base func(tensor string) ([]float32, error),
	weight float64) (map[string][]float32, error) {
	return a.mergeShare(params, slot, base, weight, nil)
}

func (a *Adapter) mergeShare(params *nn.Params, slot int, base func(tensor string) ([]float32, error), weight float64,
	want Wanted) (map[string][]float32, error) {
	out, err := a.merge(params, slot, base, want)
	if err != nil || weight == 1 {
		return out, err
	}
	base = a.stored(base)
	for _, name := range sortedKeys(out) {
		b, err := base(name)
		if err != nil {
			return nil, fmt.Errorf("peft: merging %s with a weight of %g: %w", name, weight, err)
		}
		v := out[name]
		for i, x := range b {
			v[i] = x + float32(weight)*(v[i]-x)
		}
		if i := kernels.NonFinite(v); i >= 0 {
			return nil, fmt.Errorf("peft: a weight of %g makes the value %g of %s at %d: take one nearer to 1", weight, v[i], name, i)
		}
	}
	return out, nil
}

// stored is base, or the weights of the sites where it is nil; a head that shares the embedding's weight has that.
func (a *Adapter) stored(base func(tensor string) ([]float32, error)) func(tensor string) ([]float32, error) {
	if base == nil {
		base = a.Base
	}
	if !a.env.Tied {
		return base
	}
	embedding, head := embeddingAndHead(a.sites)
	return func(tensor string) ([]float32, error) {
		if tensor == head+".weight" {
			tensor = embedding + ".weight"
		}
		return base(tensor)
	}
}

// merger is the method, where it can be merged, and a slot's values.
func (a *Adapter) merger(params *nn.Params, slot int) (Merger, func(name string) []float32, error) {
	if err := a.Mergeable(); err != nil {
		return nil, nil, err
	}
	value, err := a.slotValues(params, slot)
	return a.Method.(Merger), value, err
}

// slotValues gives a slot's values of the parameters by their names.
func (a *Adapter) slotValues(params *nn.Params, slot int) (func(name string) []float32, error) {
	values := map[string][]float32{}
	for _, p := range a.Params() {
		v, err := a.values(params, p, slot)
		if err != nil {
			return nil, err
		}
		values[p.Name] = v
	}
	return func(name string) []float32 {
		v, ok := values[name]
		if !ok {
			panic("peft: " + a.Type() + " has no parameter " + name)
		}
		return v
	}, nil
}

// Base reads a weight of the base model from the sites, by its HF tensor name and in the layout in which the base stores it.
func (a *Adapter) Base(tensor string) ([]float32, error) {
	for _, s := range weighted(a.sites) {
		switch l, _ := layoutOf(s.Op); {
		case s.Name+".weight" == tensor:
			return l.Dense(), nil
		case s.Name+".bias" == tensor && l.Bias != nil:
			return l.biasValues(), nil
		}
	}
	return nil, fmt.Errorf("peft: the base model has no tensor %s", tensor)
}
