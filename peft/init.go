package peft

import (
	"math"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// prefix is what HF puts before the base model's module names.
const prefix = "base_model.model."

// uniform starts a parameter with numbers in ±1/√fanIn, torch's default of nn.Linear: kaiming uniform with a = √5.
func uniform(seed uint64, name string, fanIn int) func([]float32) {
	bound := 1 / math.Sqrt(float64(fanIn))
	return func(d []float32) { philox.NewKey(seed, "init", name).FillUniform(d, -bound, bound) }
}

// normal starts a parameter with normal numbers of mean 0.
func normal(seed uint64, name string, std float64) func([]float32) {
	return func(d []float32) { philox.NewKey(seed, "init", name).FillNormal(d, 0, std) }
}

// uniformWithin starts a parameter with numbers in ±bound.
func uniformWithin(seed uint64, name string, bound float64) func([]float32) {
	return func(d []float32) { philox.NewKey(seed, "init", name).FillUniform(d, -bound, bound) }
}

// ones starts a parameter with ones.
func ones(d []float32) {
	for i := range d {
		d[i] = 1
	}
}

// zeros starts a parameter with zeros.
func zeros([]float32) {}
