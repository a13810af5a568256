package cli

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/page"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/rewards"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/train"
)

//go:generate go test -count=1 -run ^TestReference$ . -update

// TestReference compares the generated pages of docs/reference with the code: run `go generate ./cmd/cli` where they differ.
func TestReference(t *testing.T) {
	for name, make := range map[string]func(*testing.T) []byte{"commands.md": commandsPage, "templates.md": templatesPage,
		"rules.md": rulesPage, "measures.md": measuresPage} {
		page.Current(t, "../../docs/reference/"+name, "go generate ./cmd/cli", make(t))
	}
}

const madeByTest = "Made by `go generate ./cmd/cli` from the code; do not edit it.\n\n"

// escaped are the marks of Markdown that help texts have as they are.
var escaped = strings.NewReplacer("<", "&lt;", "*", `\*`, "__", `\_\_`)

// inCell is a text as a cell of a Markdown table has it.
func inCell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`).Replace(s)
}

func commandsPage(*testing.T) []byte {
	var b bytes.Buffer
	root := command()
	fmt.Fprint(&b, "# Commands\n\n"+madeByTest+
		"Results go to stdout (`--json` for programs), progress and messages to stderr. `adaptflow completion SHELL` prints shell "+
		"completion.\n\n"+
		"## Exit codes\n\n| code | means |\n|---|---|\n| 0 | done |\n| 1 | failed: one line on stderr says what, where, and what to do |\n"+
		"| 2 | wrong usage, or the output folder is in use |\n| 3 | finished, but more bad records than `data.max_bad_fraction`, or "+
		"files that continual learning passed over |\n| 130 | interrupted: the same command continues from the last checkpoint |"+
		"\n\n## All commands\n\n"+
		"| command | does |\n|---|---|\n")
	var all []*cobra.Command
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			if s.Hidden || s.Name() == "help" || s.Name() == "completion" {
				continue
			}
			all = append(all, s)
			walk(s)
		}
	}
	walk(root)
	anchor := func(c *cobra.Command) string {
		return strings.ReplaceAll(strings.TrimPrefix(c.CommandPath(), "adaptflow "), " ", "-")
	}
	for _, c := range all {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), anchor(c), inCell(c.Short))
	}
	fmt.Fprint(&b, "\n## Flags of every command\n\n")
	flags(&b, root.PersistentFlags())
	for _, c := range all {
		fmt.Fprintf(&b, "\n## %s\n\n", strings.TrimPrefix(c.CommandPath(), "adaptflow "))
		if c.Runnable() {
			fmt.Fprintf(&b, "    %s\n\n", c.UseLine())
		}
		about := c.Long
		if about == "" {
			about = c.Short + "."
		}
		for _, paragraph := range strings.Split(about, "\n\n") {
			if strings.HasPrefix(paragraph, "  ") {
				fmt.Fprintf(&b, "```\n%s\n```\n\n", paragraph)
				continue
			}
			fmt.Fprintf(&b, "%s\n\n", escaped.Replace(strings.Join(strings.Fields(paragraph), " ")))
		}
		flags(&b, c.LocalNonPersistentFlags())
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// flags writes the table of a command's flags.
func flags(b *bytes.Buffer, of *pflag.FlagSet) {
	first := true
	of.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		if first {
			fmt.Fprint(b, "| flag | type | default | what it does |\n|---|---|---|---|\n")
			first = false
		}
		name, given := "--"+f.Name, f.DefValue
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if given = strings.Trim(given, "[]"); given != "" {
			given = "`" + inCell(given) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, f.Value.Type(), given, inCell(f.Usage))
	})
}

func templatesPage(t *testing.T) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Templates\n\n"+madeByTest+"`adaptflow run TEMPLATE --set NAME=VALUE` takes the parameters below and every key of "+
		"[a recipe](../recipe.md). `adaptflow templates show TEMPLATE` prints the recipe.\n\n| template | does |\n|---|---|\n")
	list := templates.List()
	for _, p := range list {
		fmt.Fprintf(&b, "| [`%s`](../how-to/%s.md) | %s |\n", p.Name, p.Name, inCell(p.Summary))
	}
	fmt.Fprint(&b, "\n## Parameters\n\nEvery template takes them; defaults are in the tables below.\n\n"+
		"| parameter | key of the recipe | type | what it is |\n|---|---|---|---|\n")
	for i := range list {
		ps, err := list[i].Parameters()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			for _, p := range ps {
				fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", p.Name, p.Path, p.Type, inCell(p.Help))
			}
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| parameter | default |\n|---|---|\n", list[i].Name,
			strings.ToUpper(list[i].Summary[:1])+list[i].Summary[1:])
		for _, p := range ps {
			if s := recipe.Shown(p.Default); s != "null" && s != `""` && s != "[]" && s != "{}" {
				fmt.Fprintf(&b, "| `%s` | `%s` |\n", p.Name, strings.ReplaceAll(s, "|", `\|`))
			}
		}
	}
	return b.Bytes()
}

// reason is a reason of rejection, and what the comment beside it says.
type reason struct{ name, about string }

// reasonsIn are the reasons that Go files of a folder declare as constants named Reason…, and by file those that a rule gives.
func reasonsIn(t *testing.T, folder string) (declared []reason, byFile map[string][]string) {
	t.Helper()
	byFile = map[string][]string{}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", folder, files, err)
	}
	text := func(x ast.Expr) string {
		if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				return s
			}
		}
		return ""
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		file := strings.TrimSuffix(filepath.Base(path), ".go")
		note := func(s string) {
			if s != "" && !slices.Contains(byFile[file], s) {
				byFile[file] = append(byFile[file], s)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.ValueSpec:
				for i, name := range x.Names {
					if strings.HasPrefix(name.Name, "Reason") && i < len(x.Values) {
						declared = append(declared, reason{text(x.Values[i]), strings.TrimSpace(x.Comment.Text())})
					}
				}
			case *ast.CallExpr:
				if f, ok := x.Fun.(*ast.Ident); ok && f.Name == "drop" && len(x.Args) > 0 {
					note(text(x.Args[0]))
				}
			case *ast.KeyValueExpr:
				if k, ok := x.Key.(*ast.Ident); ok && k.Name == "Reason" {
					note(text(x.Value))
				}
			}
			return true
		})
	}
	return declared, byFile
}

func rulesPage(t *testing.T) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Rules, steps of deduplication, and reasons of rejection\n\n"+madeByTest+
		"[Why was my row rejected?](../how-to/dead-letters.md) says what to do. Settings are in [recipe.md](../recipe.md#prepare).\n\n"+
		"## Cleaning rules\n\n`prepare.clean: [NAME, {rule: NAME, KEY: VALUE}]`. "+
		"A dead letter's reason is the rule's name, a full stop, and "+
		"a reason of the rule.\n\n| rule | after | reasons |\n|---|---|---|\n")
	_, by := reasonsIn(t, "../../datasets/rules")
	quoted := func(names []string) string {
		if len(names) == 0 {
			return ""
		}
		return "`" + strings.Join(slices.Sorted(slices.Values(names)), "`, `") + "`"
	}
	for _, r := range rules.Table {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Name, inCell(r.Paper), quoted(by[r.Name]))
	}
	fmt.Fprint(&b, "\nEvery rule that changes texts rejects one of which nothing is left, as `empty`.\n\n## Steps of deduplication\n\n"+
		"`prepare.dedupe: [NAME, {rule: NAME, KEY: VALUE}]`\n\n| step | after | reasons |\n|---|---|---|\n")
	_, by = reasonsIn(t, "../../datasets/dedupe")
	for _, s := range dedupe.Table {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, inCell(s.Source), quoted(append([]string{"duplicate"}, by["step_"+s.Name]...)))
	}
	fmt.Fprint(&b, "\n## Reasons of reading, tokenizing, mixing and training by key\n\n| reason | when |\n|---|---|\n")
	for _, folder := range []string{"../../datasets", "../../transforms/perkey"} {
		declared, _ := reasonsIn(t, folder)
		for _, r := range declared {
			fmt.Fprintf(&b, "| `%s` | %s |\n", r.name, inCell(r.about))
		}
	}
	fmt.Fprint(&b, "| `chat_template` | the model's chat template refuses the turns |\n")
	return b.Bytes()
}

func measuresPage(*testing.T) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Measures, objectives, rewards, formats, optimisers, schedules\n\n"+madeByTest+
		"Settings are in [recipe.md](../recipe.md). A program of your own [registers more](../how-to/your-own-method.md).\n\n"+
		"## Measures\n\nMeasured before and after training, for the table, `report.html` and `metrics.json`.\n\n"+
		"| measure | says | numbers (an arrow: better) |\n|---|---|---|\n")
	for _, m := range measure.Measures {
		var numbers []string
		for _, c := range m.Columns {
			numbers = append(numbers, c.Name+map[measure.Better]string{measure.Lower: " ↓", measure.Higher: " ↑"}[c.Better])
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Name, inCell(m.Doc), inCell(strings.Join(numbers, ", ")))
	}
	fmt.Fprint(&b, "\n## Objectives\n\n`train.objective`, with settings in `train.objective_args`; "+
		"without one the kind of the data chooses.\n\n"+
		"| objective | learns |\n|---|---|\n")
	for _, o := range train.Objectives {
		fmt.Fprintf(&b, "| `%s` | %s |\n", o.Name, inCell(o.Doc))
	}
	fmt.Fprint(&b, "\n## Rewards\n\n`train.objective_args.reward_funcs: [{name: NAME, KEY: VALUE}]`\n\n| reward | gives |\n|---|---|\n")
	for _, r := range rewards.Table {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Name, inCell(r.Doc))
	}
	fmt.Fprint(&b, "\n## Export formats\n\n| format | folder | what is written | takes |\n|---|---|---|---|\n")
	for _, f := range export.Formats {
		fmt.Fprintf(&b, "| `%s` | `%s/` | %s | %s |\n", f.Name, f.Folder, inCell(f.Doc), inCell(f.Takes))
	}
	fmt.Fprintf(&b, "\n## Optimisers and schedules\n\n`train.optim`: `%s`\n\n`train.lr_scheduler_type`: `%s`\n",
		strings.Join(train.Optimizers(), "`, `"), strings.Join(train.Schedules(), "`, `"))
	return b.Bytes()
}
