package peft_test

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/nn"
)

// TestUnmergeRotations takes out rotations by large angles.
func TestUnmergeRotations(t *testing.T) {
	ran := 0
	for name, c := range methodCases(t) {
		switch c.Config["peft_type"] {
		case "OFT", "BOFT", "HRA", "ROAD":
		default:
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) { c.unmerges(t, 3) })
	}
	if ran < 8 {
		t.Errorf("%d cases ran", ran)
	}
}

// TestMethodUnmerges merges every method that can be and takes it out again: the base comes back, or the error says why it cannot.
func TestMethodUnmerges(t *testing.T) {
	for name, c := range methodCases(t) {
		t.Run(name, func(t *testing.T) { c.unmerges(t, 1) })
	}
}

// unmerges tries one case, its parameters shaken so many times.
func (c methodCase) unmerges(t *testing.T, times int) {
	m, _, a := c.build(t, nil)
	params := nn.NewParams(1)
	defer params.Free()
	compileFor(t, m, a, params, nn.ModeScore, packed(3))
	for range times {
		shake(params)
	}
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
}
