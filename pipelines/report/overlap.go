package report

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
)

// Overlap is what a set that is measured on shares with what is trained on: its scores say too much then. Documents are compared by their
// text, whatever file and format they come in.
type Overlap struct {
	Set       string            `json:"set"`       // eval_input, general_input, or held-out
	Documents int               `json:"documents"` // of the set, that are trained on
	Files     []datasets.Shared `json:"files"`
}

// HeldOut is the set that is held out of the input itself.
const HeldOut = "held-out"

// String is a sentence for people.
func (o Overlap) String() string {
	var files []string
	for i, f := range o.Files {
		if i == 4 {
			files = append(files, fmt.Sprintf("and %d more files", len(o.Files)-i))
			break
		}
		in := strings.Join(f.In[:min(3, len(f.In))], ", ")
		if len(f.In) > 3 {
			in += ", …"
		}
		files = append(files, fmt.Sprintf("%d of %d of %s in %s", f.Documents, f.Of, f.Source, in))
	}
	name := o.Set + " that are trained on, too"
	if o.Set == HeldOut {
		name = "the held-out part of input that are trained on, too, as duplicates"
	}
	return fmt.Sprintf("documents of %s: %d (%s); what is measured on them says nothing of new text", name, o.Documents,
		strings.Join(files, "; "))
}
