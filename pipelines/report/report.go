// Package report shows people what a run gave: files, tables on a terminal, pages with pictures.
package report

import "io"

// File is the name of the report for people in an output folder.
const File = "report.html"

// Summary is what a run of some kind gave, as its summary file has it in JSON.
type Summary interface {
	// Table prints it for a person. output is the output folder as it was given.
	Table(w io.Writer, output string)
}
