package run

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/pipelines/report"
)

// printsPath is the file of what identifies the documents of a set.
func (r *Run) printsPath(set string) string {
	return filepath.Join(r.Output, "stages", "prints-"+set+".bin")
}

// Overlaps compares the named sets, as prepared by r, with what train trains on: "domain", "general", or "" for what is held out of it.
// Folders of earlier versions have nothing to compare.
func (r *Run) Overlaps(train *Run, sets ...string) (out []report.Overlap, err error) {
	for _, set := range sets {
		path, name := "", report.HeldOut
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
		o := report.Overlap{Set: name, Files: files}
		for _, f := range files {
			o.Documents += f.Documents
		}
		r.Tell("warning: %s", o)
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
	d.Overlap, err = r.Overlaps(r, slices.Clip(sets)...)
	return err
}
