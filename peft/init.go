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

// sampleTokens draws n tokens of a vocabulary, each as likely as the others.
func sampleTokens(seed uint64, name string, n, vocab int) []int32 {
	key := philox.NewKey(seed, "init", name)
	ids := make([]int32, n)
	for i := range ids {
		r := key.At(0, uint64(i))
		ids[i] = int32(min(int(philox.Uniform64(r[0], r[1])*float64(vocab)), vocab-1))
	}
	return ids
}

// constant starts a parameter at one value.
func constant(v float64) func([]float32) {
	return func(d []float32) {
		for i := range d {
			d[i] = float32(v)
		}
	}
}

// kaimingBound is the bound of torch's kaiming_uniform_ with slope a.
func kaimingBound(fanIn int, a float64) float64 {
	return math.Sqrt(3) * (math.Sqrt(2/(1+a*a)) / math.Sqrt(float64(fanIn)))
}
