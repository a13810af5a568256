package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/kinds"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
)

func forgetCommand() *cobra.Command {
	var docs []string
	var output, work string
	var asJSON, list bool
	var runner runners.Runner
	c := &cobra.Command{Use: "forget", Short: "Remove documents from a run by key and retrain the adapters that saw them",
		Args: cobra.NoArgs,
		Long: "Forget finds the adapters of a run by key (a recipe with data.key_column) that were trained on the documents, " +
			"removes the documents from the run's shards\n" +
			"and dead letters, and retrains those keys; the others keep their bytes. A document's id is SOURCE#INDEX, as " +
			"documents.jsonl of an adapter's folder and inspect of shards show it.\n" +
			"With the --runner and --endpoint of the run, it first cancels the job that a lost driver left on the job server.",
		RunE: func(c *cobra.Command, _ []string) error {
			if len(docs) == 0 || output == "" {
				return usage("forget needs --doc ID and the run's --output")
			}
			if work != "" && (storage.IsLocal(output) || storage.IsLocal(work)) {
				return usage("--work-location %s: it is of an --output on an object store, and on one itself", work)
			}
			if runner.Name == "dataflow" {
				return usage("forget trains in this process, or on a job server (--runner flink, spark, universal)")
			}
			var err error
			if runner, err = runner.Resolve(); err != nil {
				return usageError{err}
			}
			path := storage.Join(output, run.RecipeFile)
			text, err := storage.ReadSmall(path, storage.KindRecipe)
			if err != nil {
				return usageError{err}
			}
			l, err := recipe.Parse(path, text)
			if err != nil {
				return err
			}
			rec, err := recipe.Resolve(l)
			if err != nil {
				return err
			}
			forgets := kinds.Of(rec).Forgets
			if forgets == nil {
				return usage("%s holds a run of one adapter, which saw all its documents: leave them out of the input and run it again",
					output)
			}
			keys, unknown, err := forgets.Affected(output, docs)
			if err != nil {
				return err
			}
			if len(unknown) > 0 {
				return usage("no adapter in %s was trained on %s; an id is SOURCE#INDEX, as in documents.jsonl of an adapter's folder",
					output, strings.Join(unknown, ", "))
			}
			if err := runner.CheckOutput(output, kinds.Of(rec).Afar); err != nil {
				return usageError{err}
			}
			say("affected: %s", strings.Join(keys, ", "))
			if list {
				if asJSON {
					return printJSON(map[string]any{"affected": keys})
				}
				return nil
			}
			r := &run.Run{Recipe: rec, Output: output, Work: work, Runner: runner, Say: say}
			err = kinds.Open(r)
			defer r.Close()
			if err != nil {
				return err
			}
			o, err := forgets.Forget(c.Context(), r, docs)
			return printOutcome(asJSON, output, o, err)
		}}
	c.Flags().StringArrayVar(&docs, "doc", nil, "id of a document; repeat for more")
	c.Flags().StringVar(&output, "output", "", "output folder of the run, or its place on an object store")
	c.Flags().StringVar(&work, "work-location", "", "work location of the run, where it is not in the --output on an object store")
	addRunner(c, &runner)
	c.Flags().BoolVar(&list, "list", false, "only name the keys whose adapters are affected")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
