package train

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of an objective: the file and the row build, and the tests that the table drives pass
// with its case.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding an objective", File: "train/objective_simpo.go",
		Data: "train/testdata/objectives/simpo.json", Package: "train",
		Run: "TestObjectives$/^simpo$", Lines: []pasted.Line{{File: "train/objective.go", After: "var Objectives = []ObjectiveRow{",
			Line: `{"simpo", "the first of two answers, by the means of their log-probabilities", func() Objective { return &SimPO{Beta: 2, Gamma: 1} }, nil},`}}})
}
