package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/recipe"
)

// recipeReference are the commands that describe what a recipe may say.
func recipeReference() *cobra.Command {
	c := &cobra.Command{Use: "recipe", Short: "Describe the keys of a recipe"}
	var asJSON bool
	keys := &cobra.Command{Use: "keys [PATTERN]", Short: "Print the keys of a recipe: type, default, accepted values, help",
		Args: cobra.MaximumNArgs(1),
		Long: "Keys prints every key of a recipe: those of its sections, of cleaning rules and steps of deduplication, of schedules and " +
			"optimisers, and the fields of each method.\n" +
			"PATTERN is a part of a key's path, as learning_rate or prepare.clean.c4, or a pattern, as train.warmup_*.",
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := recipe.Matching(strings.Join(args, ""))
			if err != nil {
				return usageError{err}
			}
			if len(keys) == 0 {
				return usage("no key has %q in its path; adaptflow recipe keys prints all", args[0])
			}
			if asJSON {
				return printJSON(keys)
			}
			var b strings.Builder
			for _, k := range keys {
				describe(&b, &k)
			}
			_, err = os.Stdout.WriteString(b.String())
			return err
		}}
	keys.Flags().BoolVar(&asJSON, "json", false, "print the keys as JSON")
	schema := &cobra.Command{Use: "schema", Short: "Print a JSON Schema of a whole recipe, for editors", Args: cobra.NoArgs,
		Long: "Schema prints a JSON Schema (draft 2020-12) of a whole recipe. An editor with a YAML language server completes and checks " +
			"recipes by it:\n" +
			"  adaptflow recipe schema > recipe.schema.json\n" +
			"and, as the first line of the recipe,\n" +
			"  # yaml-language-server: $schema=recipe.schema.json",
		RunE: func(*cobra.Command, []string) error {
			_, err := os.Stdout.Write(recipe.Schema())
			return err
		}}
	c.AddCommand(keys, schema)
	return c
}

// describe writes a key in two or three lines.
func describe(b *strings.Builder, k *recipe.Key) {
	line := fmt.Sprintf("%-44s %-10s", k.Path, k.Type)
	if d := k.Given(); d != "" {
		line += " default " + d
	}
	fmt.Fprintln(b, strings.TrimRight(line, " "))
	if v := k.Values(); v != "" {
		fmt.Fprintf(b, "    %s\n", v)
	}
	fmt.Fprintf(b, "    %s\n", k.About())
}
