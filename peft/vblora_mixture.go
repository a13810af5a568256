package peft

import (
	"math"
)

// mixture is the choice of the top k of a list of logits, and their softmax. Vectors have l values.
type mixture struct {
	l  int
	at []int
	w  []float32
	dw []float64
}

func newMixture(k, l int) *mixture {
	return &mixture{l: l, at: make([]int, k), w: make([]float32, k), dw: make([]float64, k)}
}

// choose finds the largest logits, larger first, the first of equals, and their weights.
func (m *mixture) choose(logits []float32) {
	n := 0
	for i, x := range logits {
		j := n
		for j > 0 && x > logits[m.at[j-1]] {
			j--
		}
		if j == len(m.at) {
			continue
		}
		n = min(n+1, len(m.at))
		copy(m.at[j+1:n], m.at[j:n-1])
		m.at[j] = i
	}
	sum := 0.0
	for j, i := range m.at {
		e := math.Exp(float64(logits[i]) - float64(logits[m.at[0]]))
		m.w[j] = float32(e)
		sum += e
	}
	for j := range m.w {
		m.w[j] = float32(float64(m.w[j]) / sum)
	}
}

// add writes the mixture of the bank's vectors to dst, whose values are stride apart.
func (m *mixture) add(bank, dst []float32, stride int) {
	for e := range m.l {
		sum := float32(0)
		for j, i := range m.at {
			sum += float32(m.w[j] * bank[i*m.l+e])
		}
		dst[e*stride] = sum
	}
}

// grad adds the gradients of the logits and of the bank, given that of the mixture.
func (m *mixture) grad(bank, dlogits, dbank, g []float32, stride int) {
	mean := 0.0
	for j, i := range m.at {
		m.dw[j] = 0
		for e := range m.l {
			x := g[e*stride]
			m.dw[j] += float64(x) * float64(bank[i*m.l+e])
			if dbank != nil {
				dbank[i*m.l+e] += float32(m.w[j] * x)
			}
		}
		mean += float64(m.w[j]) * m.dw[j]
	}
	for j, i := range m.at {
		if dlogits != nil {
			dlogits[i] += float32(float64(m.w[j]) * (m.dw[j] - mean))
		}
	}
}

// cut is the i'th run of n values, nil of nil.
func cut(x []float32, i, n int) []float32 {
	if x == nil {
		return nil
	}
	return x[i*n : (i+1)*n]
}
