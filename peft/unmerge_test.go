package peft_test

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/nn"
)

// TestMethodUnmerges merges every method that can be and takes it out again: the base comes back, or the error says why it cannot.
func TestMethodUnmerges(t *testing.T) {
	for name, c := range methodCases(t) {
		t.Run(name, func(t *testing.T) {
			m, _, a := c.build(t, nil)
			params := nn.NewParams(1)
			defer params.Free()
			compileFor(t, m, a, params, nn.ModeScore, packed(3))
			shake(params)
			merged, err := a.Merge(params, 0, nil)
			if c.refused(t, "merge", err) {
				return
			}
			back, err := a.Unmerge(params, 0, func(tensor string) ([]float32, error) {
				if w, ok := merged[tensor]; ok {
					return w, nil
				}
				return a.Base(tensor)
			})
			if c.refused(t, "unmerge", err) {
				return
			}
			for tensor := range merged {
				got, ok := back[tensor]
				if !ok {
					t.Errorf("%s did not come back", tensor)
				}
				want, err := a.Base(tensor)
				if err != nil {
					t.Fatal(err)
				}
				if d := golden.RelDiff(got, want); d > 1e-4 {
					t.Errorf("%s differs from the base's by %g", tensor, d)
				}
			}
		})
	}
}
