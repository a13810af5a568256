package run

import (
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Data is what the data stages gave.
type Data struct {
	Train           *prepare.Result
	Domain          []prepare.ShardRef // held-out text of the same kind
	General         []prepare.ShardRef
	Origins         map[string]string // the named source of each file of Domain; nil without named sources
	domain, general *prepare.Result
	// Overlap is what sets that are measured on share with what is trained on.
	Overlap []report.Overlap
}

// setNames are what the sets of input are called.
var setNames = map[string]string{"train": "input", "domain": "eval_input", "general": "general_input"}
