package run

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// countClasses reads the input of a recipe for its classes, where no data has been prepared.
func countClasses(rec *recipe.Recipe) (int, error) {
	named, err := rec.Data.Named()
	if err != nil {
		return 0, err
	}
	inputs := slices.Clone(rec.Data.Input)
	for _, s := range named {
		inputs = append(inputs, s.Input...)
	}
	files, err := assets.ResolveAll(inputs)
	if err != nil {
		return 0, err
	}
	sources, err := datasets.FindSources(files)
	if err != nil {
		return 0, err
	}
	names := map[string]bool{}
	for _, f := range sources {
		how := rec.Data.Options
		how.RowKind, how.KeyColumn = datasets.RowClassification, ""
		in, err := datasets.Open(f.Path, f.Source, how)
		if err != nil {
			return 0, err
		}
		for {
			rec, rej, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				in.Close()
				return 0, err
			}
			if rej == nil {
				names[rec.Label] = true
			}
		}
		if err := in.Close(); err != nil {
			return 0, err
		}
	}
	if len(names) < 2 {
		return 0, fmt.Errorf("the input has %d classes in the column %s: a classifier needs two", len(names), rec.Data.LabelColumn)
	}
	return len(names), nil
}
