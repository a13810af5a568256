package pipelines

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
)

// Overlap is what a set that is measured on shares with what is trained on: its scores say too much then. Documents are compared by their text, whatever file and format they come in.
type Overlap struct {
	Set       string            `json:"set"`       // eval_input, general_input, or held-out
	Documents int               `json:"documents"` // of the set, that are trained on
	Files     []datasets.Shared `json:"files"`
}

// heldOut is the set that is held out of the input itself.
const heldOut = "held-out"

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
	if o.Set == heldOut {
		name = "the held-out part of input that are trained on, too, as duplicates"
	}
	return fmt.Sprintf("documents of %s: %d (%s); what is measured on them says nothing of new text", name, o.Documents, strings.Join(files, "; "))
}

// printsPath is the file of what identifies the documents of a set.
func (r *Run) printsPath(set string) string {
	return filepath.Join(r.Output, "stages", "prints-"+set+".bin")
}

// overlaps compares the named sets, as prepared by r, with what train trains on: "domain", "general", or "" for what is held out of it. Folders of earlier versions have nothing
// to compare.
func (r *Run) overlaps(train *Run, sets ...string) (out []Overlap, err error) {
	for _, set := range sets {
		path, name := "", heldOut
		if set != "" {
			path, name = r.printsPath(set), setNames[set]
		}
		files, err := datasets.CompareTraining(train.printsPath("train"), path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			continue
		}
		o := Overlap{Set: name, Files: files}
		for _, f := range files {
			o.Documents += f.Documents
		}
		r.say("warning: %s", o)
		out = append(out, o)
	}
	return out, nil
}

// compareSets compares what is measured on with what is trained on.
func (r *Run) compareSets(d *Data) (err error) {
	sets := []string{}
	if d.domain != nil {
		sets = append(sets, "domain")
	}
	if len(d.Train.Validation) > 0 {
		sets = append(sets, "")
	}
	if d.general != nil {
		sets = append(sets, "general")
	}
	d.Overlap, err = r.overlaps(r, slices.Clip(sets)...)
	return err
}
