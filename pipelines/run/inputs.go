package run

import (
	"cmp"
	"context"
	"os"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Reading are the settings by which the files of a set are read. General text is plain and of the format that is found, whatever the rows
// to learn from are.
func (r *Run) Reading(set string) prepare.Config {
	c := prepare.Config{Options: r.Recipe.Data.Options, Dry: r.Runner.Dry()}
	c.KeyColumn, c.Labels = r.keyColumn(set), r.classes
	c.RowKind, c.Answers = cmp.Or(headOf(r.Recipe).rows, c.RowKind), r.Recipe.Train.Answers()
	if set == "general" {
		c.Answers = ""
		c.Format, c.Delimiter, c.RowKind, c.Columns = datasets.FormatAuto, "", datasets.RowAuto, nil
	}
	for _, s := range r.Recipe.Prepare.Clean { // a page has to be taken apart in every set, also where nothing else is cleaned
		if page := rules.PageRule(s); page != nil {
			c.HTML = page
		}
	}
	return c
}

// checkInputs refuses files of formats that are not read, in any set, before work on the first begins.
func (r *Run) checkInputs(ctx context.Context, train, held []recipe.Source) error {
	d := r.Recipe.Data
	for _, s := range []struct {
		set     string
		inputs  []string
		sources []recipe.Source
	}{{"train", d.Input, train}, {"domain", d.EvalInput, held}, {"general", d.GeneralInput, nil}} {
		if len(s.inputs)+len(s.sources) == 0 {
			continue
		}
		if _, err := os.Stat(r.RecordPath("prepare-" + s.set)); err == nil { // the set is prepared; its files may be gone
			continue
		}
		c := r.Reading(s.set)
		var err error
		if c.Inputs, err = assets.ResolveAll(s.inputs); err != nil {
			return err
		}
		c.Sources = s.sources
		if err := prepare.Check(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// keyColumn is the key column of a set of input files: general text has none.
func (r *Run) keyColumn(set string) string {
	if set == "general" {
		return ""
	}
	return r.Recipe.Data.KeyColumn
}
