package rules

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of a rule: the file and the row build, and it decides as its case says.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a filter", File: "datasets/rules/capitals.go",
		Lines: []pasted.Line{{File: "datasets/rules/table.go", After: "var Table = []Entry{",
			Line: `{"capitals", func() Rule { return NewCapitals() }, "bounds of the recipe"},`}},
		Data:    "datasets/rules/testdata/cases/capitals.json",
		Package: "datasets/rules", Run: "^TestCases$", Says: []string{"TestCases/capitals"}})
}
