package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines"
)

// runContinual is run of a recipe of continual learning.
func runContinual(c *cobra.Command, f *recipeFlags, r *pipelines.Run, w pipelines.Watch) error {
	l, err := r.Learn(c.Context(), w)
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

// addWatch adds the flags that only continual learning has.
func addWatch(c *cobra.Command, w *pipelines.Watch) {
	c.Flags().DurationVar(&w.Every, "watch", 0, "continual learning: look for new files as often, such as 30s, rather than end with those that there are")
	c.Flags().DurationVar(&w.UntilIdle, "until-idle", 0, "with --watch: end when no new file has come for so long")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case w.Every < 0 || w.UntilIdle < 0:
			return usage("--watch and --until-idle are times above 0, as 30s or 10m")
		case w.UntilIdle > 0 && w.Every == 0:
			return usage("--until-idle needs --watch, the time between two looks for new files")
		}
		return nil
	}
}
