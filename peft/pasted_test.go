package peft_test

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of a method: the file and the row build, and the tests that the table and
// testdata/methods drive pass with its case.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a method", File: "peft/rowscale.go",
		Header: "package peft\n\nimport (\n\t\"github.com/adaptflow/adaptflow/internal/pool\"\n\t\"github.com/adaptflow/adaptflow/nn\"\n)\n\n",
		Lines: []pasted.Line{{File: "peft/methods.go", After: "var Methods = []Row{",
			Line: `{Type: "ROWSCALE", New: newRowScale, Doc: "a trained scale of the weight's rows"},`}},
		Data: "peft/testdata/methods/rowscale.json", Package: "peft",
		Run: "^TestMethod(Gradients|Slots|Folders|Merges|Start)$/^rowscale$",
		Says: []string{"TestMethodGradients/rowscale", "TestMethodSlots/rowscale", "TestMethodFolders/rowscale",
			"TestMethodMerges/rowscale", "TestMethodStart/rowscale"}})
}
