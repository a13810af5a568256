package cli

import (
	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines/kinds"
)

// addWatch adds the flags that only continual learning has.
func addWatch(c *cobra.Command, w *kinds.Watch) {
	c.Flags().DurationVar(&w.Every, "watch", 0, "continual learning: look for new files as often, such as 30s, rather than end with "+
		"those that there are")
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
