package preference

import (
	"fmt"
	"math"
)

// Rollout is an answer that a policy gave itself: what its tokens count.
type Rollout struct {
	LogP      []float32 // by the policy as it is
	Old       []float32 // by the policy that gave the answer
	Ref       []float32 // by the reference; nil where nothing is compared with one
	Entropy   []float32 // of the policy; nil where nothing goes by it
	Advantage float64
	// Length is the mean number of tokens of an answer of those that were sampled together: what dapo, cispo and vespo divide by.
	Length float64
}

// ratios are the logarithms of what the tokens have become likelier by, and their sum.
func (a *Rollout) ratios() (each []float64, sum float64) {
	each = make([]float64, len(a.LogP))
	for i, x := range a.LogP {
		each[i] = float64(x) - float64(a.Old[i])
		sum += each[i]
	}
	return each, sum
}

// clipped is -min(c·A, clip(c)·A) and its derivative in c, where c is what of the ratio counts, slope its derivative in the ratio, and clip
// keeps the ratio between low and high. Where both terms are equal each has half, as torch.min.
func clipped(ratio, c, slope, low, high, advantage float64) (loss, g float64) {
	a, ga := c*advantage, slope*advantage
	b, gb := min(max(ratio, low), high)*advantage, 0.0
	if ratio >= low && ratio <= high {
		gb = advantage
	}
	switch {
	case a < b:
		return -a, -ga
	case a > b:
		return -b, -gb
	}
	return -a, -(ga + gb) / 2
}

// Sampled is a mean, of a metric, and what it is over.
type Sampled struct {
	Sum float64
	N   int
}

func (s *Sampled) add(x float64, n int) { s.Sum, s.N = s.Sum+x, s.N+n }

// Mean is 0 of nothing.
func (s Sampled) Mean() float64 { return s.Sum / float64(max(1, s.N)) }

// RolloutMetrics are what a loss over rollouts tells of a batch.
type RolloutMetrics struct {
	KL, Low, High, Region Sampled // the distance from the reference, and the shares that were clipped
	LowMin, HighMax       float64 // of an answer
	CISPO, Phi            Sampled // of cispo and vespo
}

// flag is 1 for true.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// between says that a setting is not a number of a closed range.
func between(key string, x, low, high float64) error {
	if x >= low && x <= high {
		return nil
	}
	return fmt.Errorf("%s is %g; it must be from %g to %g", key, x, low, high)
}

// atLeast says that a setting is less than it must be.
func atLeast(key string, x, least float64) error {
	if x >= least && !math.IsInf(x, 0) {
		return nil
	}
	return fmt.Errorf("%s is %g; it must be at least %g", key, x, least)
}
