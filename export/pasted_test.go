package export

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of an export format: the file, the row and the setting build, and the tests
// of this package pass, which write every format of the table.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding an export format", File: "export/bits8.go", Package: "export", Lines: []pasted.Line{
		{File: "export/format.go", After: "\t&merged,", Line: "\t&bits8,"},
		{File: "export/config.go", After: "type Config struct {",
			Line: "\tInt8 bool `yaml:\"int8\" json:\"int8\" help:\"also write the merged model as 8-bit codes\"`"},
	}})
}
