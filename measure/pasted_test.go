package measure

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of a measure: the file and the row build, and the tests of this package pass.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a measure", File: "measure/distinct.go", Package: "measure",
		Lines: []pasted.Line{{File: "measure/measure.go", After: "\t&samples,", Line: "\t&distinct,"}}})
}
