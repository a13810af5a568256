package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

const (
	unmergeSteps     = 200
	unmergeTolerance = 2e-6 // of a value, relative to the tensor's largest
)

// Unmerge takes an adapter out of a model that it was merged into: it returns the changed tensors as they were in the base, up to rounding.
// merged returns a tensor of the merged model. Whatever the method, the base is the fixed point of W = W + L⁻¹(M - merge(W)), where L is
// the identity: one step where the adapter adds to the weights, a few where it scales them. A method that rotates them undoes its L itself.
// Tensors that the adapter replaces (modules_to_save, biases, full fine-tuning) leave nothing to recover and are an error.
func (a *Adapter) Unmerge(params *nn.Params, slot int, merged func(tensor string) ([]float32, error)) (map[string][]float32, error) {
	if u, ok := a.Method.(interface{ unmergeable() error }); ok {
		if err := u.unmergeable(); err != nil {
			return nil, err
		}
	}
	m, value, err := a.merger(params, slot)
	if err != nil {
		return nil, err
	}
	undo := func(string, []float32) {}
	if u, ok := a.Method.(interface {
		undo(value func(string) []float32, tensor string, d []float32)
	}); ok {
		undo = func(tensor string, d []float32) { u.undo(value, tensor, d) }
	}
	target := map[string][]float32{}
	now := map[string][]float32{}
	current := func(name string) ([]float32, error) {
		if w, ok := now[name]; ok {
			return w, nil
		}
		w, err := merged(name)
		if err != nil {
			return nil, err
		}
		target[name], now[name] = w, slices.Clone(w)
		return now[name], nil
	}
	// What the merge makes of a model whose tensors are all zero does not depend on the base.
	zero, err := m.Merge(value, func(name string) ([]float32, error) {
		w, err := current(name)
		return make([]float32, len(w)), err
	}, nil)
	if err != nil {
		return nil, err
	}
	for step := range unmergeSteps {
		got, err := m.Merge(value, current, nil)
		if err != nil {
			return nil, err
		}
		if step == 0 {
			for _, name := range sortedKeys(got) {
				if _, read := now[name]; !read || replaces(got[name], zero[name]) {
					return nil, fmt.Errorf("peft: %s replaces %s, so the merged model does not hold the base's values any more; use the "+
						"base model itself", a.Type(), name)
				}
			}
		}
		worst := 0.0
		for _, name := range sortedKeys(got) {
			w, m := now[name], target[name]
			if len(got[name]) != len(m) {
				return nil, fmt.Errorf("peft: %s has %d values in the merged model, the adapter makes %d", name, len(m), len(got[name]))
			}
			largest := 1e-30
			for _, v := range m {
				largest = max(largest, math.Abs(float64(v)))
			}
			d := make([]float32, len(m))
			for i, g := range got[name] {
				d[i] = m[i] - g
				worst = max(worst, math.Abs(float64(d[i]))/largest)
			}
			undo(name, d)
			for i, v := range d {
				w[i] += v
			}
		}
		switch {
		case math.IsNaN(worst) || math.IsInf(worst, 0) || worst > 1e6:
			return nil, fmt.Errorf("peft: the %s adapter changes the weights too much to be taken out again; use the base model itself",
				a.Type())
		case worst < unmergeTolerance:
			for name := range now { // read by the merge, but not changed
				if _, ok := got[name]; !ok {
					delete(now, name)
				}
			}
			return now, nil
		}
	}
	return nil, fmt.Errorf("peft: the %s adapter could not be taken out in %d steps; use the base model itself", a.Type(), unmergeSteps)
}

// replaces says whether a stretch of values is the same whatever the base's are.
func replaces(got, zero []float32) bool {
	if len(got) != len(zero) {
		return false
	}
	same := 0
	for i, g := range got {
		if same++; g != zero[i] || g == 0 {
			same = 0
		}
		if same >= min(8, len(got)) {
			return true
		}
	}
	return false
}
