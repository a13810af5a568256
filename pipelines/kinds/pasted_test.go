package kinds

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/pasted"
)

// TestContributing pastes CONTRIBUTING.md's example of a kind of run: the file, the row and the setting build, and the tests of the table
// pass.
func TestContributing(t *testing.T) {
	pasted.Test(t, pasted.Example{Heading: "Adding a kind of run", File: "pipelines/kinds/survey.go",
		Package: "pipelines/kinds", Run: "Kind",
		Lines: []pasted.Line{
			{File: "pipelines/kinds/table.go", After: "var table = []Kind{", Line: "\tsurveyKind,"},
			{File: "recipe/types.go", After: "type Data struct {",
				Line: "\tSurvey bool `yaml:\"survey\" json:\"survey\" help:\"prepare the data and count it, and train nothing\"`"},
		}})
}
