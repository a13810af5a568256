package run

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// TestStepsBack: the last step is tried first, then the checkpoints before it, the latest first.
func TestStepsBack(t *testing.T) {
	for _, c := range []struct {
		last int
		kept []int
		want []int
	}{{30, []int{10, 20, 30}, []int{30, 20, 10}}, {20, []int{30, 10, 20}, []int{20, 10}}, {5, nil, []int{5}}, {5, []int{0, 5}, []int{5}}} {
		if got := stepsBack(c.last, c.kept); !slices.Equal(got, c.want) {
			t.Errorf("%d of %v: %v, want %v", c.last, c.kept, got, c.want)
		}
	}
	err := error(&ForgottenError{Guarded{Step: 30, Base: 60, General: 80, Limit: 66}})
	if !errors.Is(err, prepare.ErrTooManyBad) || !strings.Contains(err.Error(), "from perplexity 60.00 to 80.00 at step 30") {
		t.Error(err)
	}
}
