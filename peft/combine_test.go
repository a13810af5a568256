package peft

import (
	"math"
	"strings"
	"testing"
)

// A weight that is not a finite number is named as such, and not as a training that diverged.
func TestWeightsOfACombination(t *testing.T) {
	for _, w := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300} {
		_, err := Combine(make([]*Adapter, 2), Combination{Type: "linear", Weights: []float64{1, w}, SVDClamp: 1})
		if err == nil || !strings.Contains(err.Error(), "the weight of adapter 2 is") {
			t.Errorf("%g: %v", w, err)
		}
	}
}
