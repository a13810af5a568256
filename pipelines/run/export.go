package run

import (
	"context"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/measure"
)

// ExportTrained writes the adapter of the newest checkpoint, or of the best where the recipe asks for it.
func (r *Run) ExportTrained() error {
	st, err := r.State()
	if err != nil {
		return err
	}
	if r.Recipe.Classifies() { // the data tells the classes; it has been prepared
		if _, err := r.Prepare(context.Background()); err != nil {
			return err
		}
	}
	a, params, err := r.Trained(st)
	if err != nil {
		return err
	}
	defer params.Free()
	if err := r.Export(a, params, st, &measure.Results{}, &measure.Results{}); err != nil {
		return err
	}
	return r.Publish()
}

// ExportFolder writes an adapter's folder as the adapter of the output, in the formats that the recipe asks for.
func (r *Run) ExportFolder(from string) error {
	if err := export.Write(&export.Source{Base: r.modelDir, Folder: from}, &r.Recipe.Export, r.Output); err != nil {
		return err
	}
	return r.Publish()
}
