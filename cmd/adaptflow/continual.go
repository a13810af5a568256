package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines"
)

// runContinual is run of a recipe of continual learning.
func runContinual(c *cobra.Command, f *recipeFlags, r *pipelines.Run) error {
	l, err := r.Learn(c.Context(), f.watch)
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(l)
	} else {
		l.Table(os.Stderr, f.output)
	}
	return errors.Join(err, l.Bad())
}

// checkWatch checks the flags that only continual learning has.
func (f *recipeFlags) checkWatch(learns bool) error {
	w := f.watch
	switch {
	case w.Every < 0 || w.UntilIdle < 0:
		return usage("--watch and --until-idle are times above 0, as 30s or 10m")
	case !learns && (w.Every > 0 || w.UntilIdle > 0):
		return usage("--watch and --until-idle go with continual learning: adaptflow run continual-learning")
	case w.UntilIdle > 0 && w.Every == 0:
		return usage("--until-idle needs --watch, the time between two looks for new files")
	}
	return nil
}
