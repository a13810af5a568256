package kernels

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of a kernel: the file builds, and the suite holds it by its row.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a kernel", File: "kernels/leakyrelu.go",
		Lines:   []pasted.Line{{File: "kernels/suite_test.go", After: "\trun  func(b *bed, rows, d int) []result\n}{"}},
		Package: "kernels", Run: "^TestSuite$/^.*$/^LeakyReLU$|^TestSuiteNaN$", Says: []string{"/LeakyReLU"}})
}
