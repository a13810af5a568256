package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// noted says what is noted of records in words.
var noted = map[string]string{
	datasets.NoteEmptyAnswer: "have an answer that is an empty text: the model learns to say nothing",
	datasets.NoteNotPages:    "of web archives are not pages (redirects, errors, images) and were passed over",
	datasets.NoteNUL:         "have NUL characters in their text",
	datasets.NoteQuotedTSV: "of TSV have fields in quotation marks, which are taken as they are: if they are quoted as in CSV, " +
		"set data.format: csv and data.delimiter: tab",
}

// sayTally warns, once a set, of the fields of its rows that are not used and of what is noted of its records.
func (r *Run) sayTally(set string, inputs []string, res *prepare.Result) {
	what := setNames[set]
	const most = 12
	var names []string
	for _, k := range slices.Sorted(maps.Keys(res.Tally.Unused)) {
		names = append(names, fmt.Sprintf("%s (%d)", k, res.Tally.Unused[k]))
	}
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("%d more", n-most))
	}
	own := slices.ContainsFunc(inputs, func(ref string) bool { return !strings.HasPrefix(ref, "embedded:") })
	if len(names) > 0 && (own || len(inputs) == 0) { // of embedded text it is known
		r.Tell("warning: %s: fields that are not used, with the rows that have them: %s", what, strings.Join(names, ", "))
	}
	for _, k := range slices.Sorted(maps.Keys(res.Tally.Notes)) {
		r.Tell("warning: %s: %d records %s", what, res.Tally.Notes[k], noted[k])
	}
}
