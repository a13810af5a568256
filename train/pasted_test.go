package train

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributingOptimiser pastes CONTRIBUTING.md's example of an optimiser: the file and the row build, and it makes torch's steps.
func TestContributingOptimiser(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a storage of weights, an optimiser, a schedule", File: "train/optim_adamax.go",
		Lines: []pasted.Line{
			{File: "train/optimizer.go", After: "var optimizers = []rule{", Line: `{"adamax", nil, adamaxStates, adamax, nil},`},
			{File: "train/optim_golden_test.go",
				After: "\t\"bitsandbytes.Lion8bit\":  \"lion_8bit\", \"bitsandbytes.SGD8bit\": \"sgd_8bit\",",
				Line:  `"torch.Adamax": "adamax",`}},
		Folders: map[string]string{"train/testdata/pasted/optim": "train/testdata/optim"},
		Package: "train", Run: "^TestGoldenOptim$", Says: []string{"TestGoldenOptim/adamax"}})
}

// TestContributing pastes CONTRIBUTING.md's example of an objective: the file and the row build, and the tests that the table drives pass
// with its case.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding an objective", File: "train/objective_simpo.go",
		Data: "train/testdata/objectives/simpo.json", Package: "train",
		Run: "^TestObjectives$/^simpo$", Says: []string{"TestObjectives/simpo"},
		Lines: []pasted.Line{{File: "train/objective.go", After: "var Objectives = []ObjectiveRow{",
			Line: `{"simpo", "the first of two answers, by the means of their log-probabilities", func() Objective { return &SimPO{Beta: 2, Gamma: 1} }, nil},`}}})
}
