package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/templates/assets"
)

func templatesCommand() *cobra.Command {
	c := &cobra.Command{Use: "templates", Short: "List and describe the recipes that are built in"}
	one := func(use, short string, do func(t *templates.Template) ([]byte, error)) {
		c.AddCommand(&cobra.Command{Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				t, err := templates.Get(args[0])
				if err != nil {
					return usageError{err}
				}
				b, err := do(t)
				if err == nil {
					fmt.Println(string(b))
				}
				return err
			}})
	}
	list := func(*cobra.Command, []string) error {
		for _, t := range templates.List() {
			fmt.Printf("%-24s %s\n", t.Name, t.Summary)
		}
		return nil
	}
	c.RunE, c.Args = list, cobra.NoArgs
	c.AddCommand(&cobra.Command{Use: "list", Short: "List the templates", Args: cobra.NoArgs, RunE: list})
	one("show", "Print a template's recipe and its parameters", func(t *templates.Template) ([]byte, error) {
		ps, err := t.Parameters()
		if err != nil {
			return nil, err
		}
		out := string(t.Text()) + "\nparameters (--set NAME=VALUE):\n"
		for _, p := range ps {
			out += fmt.Sprintf("  %-18s %-8s %s (default %v)\n", p.Name, p.Type, p.Help, p.Default)
		}
		return []byte(out), nil
	})
	one("schema", "Print a JSON Schema of a template's parameters", (*templates.Template).Schema)
	one("dataflow", "Print the metadata of a Dataflow flex template", (*templates.Template).Dataflow)
	return c
}

func licensesCommand() *cobra.Command {
	return &cobra.Command{Use: "licenses", Short: "Print the licences of everything embedded and of every Go module linked in",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := assets.Licenses()
			if err == nil {
				fmt.Print(string(b))
			}
			return err
		}}
}
