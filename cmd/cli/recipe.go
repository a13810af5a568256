package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/kinds"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/train"
)

// recipeFlags are the flags of the commands that work on a recipe.
type recipeFlags struct {
	file, output, init string
	work               string
	runner             runners.Runner
	dataflow           runners.Dataflow
	dryRun             bool
	set                []string
	json               bool
}

func (f *recipeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "recipe", "", "recipe file (YAML), over the template")
	c.Flags().StringArrayVar(&f.set, "set", nil, "setting key=value, over the recipe; repeat for more")
	c.Flags().StringVar(&f.output, "output", "", "output folder (default adaptflow-out/TEMPLATE-HASH)")
	c.Flags().StringVar(&f.work, "work-location", "", "location of staged data, checkpoints and what workers need, of an --output on an "+
		"object store (default .work in it)")
	addRunner(c, &f.runner)
	f.addDataflow(c)
	c.Flags().StringVar(&f.init, "init-adapter", "", "adapter folder to start from, here or on an object store")
	c.Flags().BoolVar(&f.json, "json", false, "print the result as JSON on stdout")
}

// addRunner adds the flags of Prism and of job servers.
func addRunner(c *cobra.Command, r *runners.Runner) {
	c.Flags().StringVar(&r.Name, "runner", "prism", "Beam runner: "+strings.Join(runners.Names, ", "))
	c.Flags().StringVar(&r.Endpoint, "endpoint", "",
		"job server HOST:PORT (default the one that adaptflow flink up or spark up brought up)")
	c.Flags().StringVar(&r.Environment, "environment", "loopback",
		"where a job server's workers run: "+strings.Join(runners.Environments, ", "))
	c.Flags().StringVar(&r.Program, "worker-program", "",
		"adaptflow on the task managers' machines, of --environment process (default this program's path)")
	addWorkerEnv(c, &r.Env)
}

// resolve makes the recipe of a template with the flags.
func (f *recipeFlags) resolve(name string) (*recipe.Recipe, error) {
	t, err := templates.Get(name)
	if err != nil {
		return nil, usageError{err}
	}
	var text []byte
	if f.file != "" {
		if text, err = storage.ReadSmall(f.file, storage.KindRecipe); err != nil {
			return nil, usageError{err}
		}
	}
	set := f.set
	if f.init != "" {
		init := f.init
		if storage.IsLocal(init) {
			abs, err := filepath.Abs(init)
			if err != nil {
				return nil, err
			}
			init = abs
		}
		set = append(set, "train.init_adapter="+init)
	}
	r, err := t.Resolve(f.file, text, set)
	if err != nil {
		return nil, usageError{err}
	}
	for _, w := range r.Warnings {
		say("warning: %s", w)
	}
	return r, nil
}

// open makes the run that the flags describe and locks its folder.
func (f *recipeFlags) open(name string) (*run.Run, error) {
	rec, err := f.resolve(name)
	if err != nil {
		return nil, err
	}
	if f.runner.Name == "dataflow" {
		f.runner.Dataflow = &f.dataflow
	}
	if err := f.checkDataflow(); err != nil {
		return nil, usageError{err}
	}
	runner, err := f.runner.Resolve()
	if err != nil {
		return nil, usageError{err}
	}
	if err := runner.CheckOutput(f.output, kinds.Of(rec).Afar); err != nil {
		return nil, usageError{err}
	}
	if f.output == "" {
		f.output = filepath.Join("adaptflow-out", name+"-"+rec.Hash()[:8])
	}
	if f.dryRun {
		if _, err := os.Stat(f.output); err == nil {
			return nil, usage("--dry-run works in a folder of its own, and %s exists: choose another --output", f.output)
		}
	}
	if f.work != "" && (storage.IsLocal(f.output) || storage.IsLocal(f.work)) {
		return nil, usage("--work-location %s: it is of an --output on an object store, and on one itself; other runs work in their "+
			"output folder", f.work)
	}
	if k := kinds.Of(rec); f.work != "" && !k.Afar {
		return nil, usage("--work-location: runs of the kind %q work in folders of this machine", k.Name)
	}
	id, err := run.ID(f.output)
	if err != nil {
		return nil, err
	}
	ofRun(id)
	r := &run.Run{Recipe: rec, Output: f.output, Work: f.work, Runner: runner, Say: say, Command: commandLine(os.Args)}
	r.Step, r.Stage = progress(rec.Train.LoggingSteps), stages()
	return r, kinds.Open(r)
}

// newBar is a bar on stderr.
func newBar(total int) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionOnCompletion(func() { fmt.Fprintln(os.Stderr) }))
}

// progress shows training: a bar on a terminal, a line each so many steps elsewhere.
func progress(every int) func(int, *train.StepInfo, *train.Eval) {
	if forPeople() {
		var bar *progressbar.ProgressBar
		return func(total int, s *train.StepInfo, e *train.Eval) {
			if s == nil {
				return
			}
			if bar == nil || s.Step == 1 { // of several trainings each has its own
				bar = newBar(total)
			}
			bar.Describe(fmt.Sprintf("training, loss %.3f, %.0f tokens/s", s.Loss, float64(s.Tokens)/max(s.Seconds, 1e-9)))
			_ = bar.Set(s.Step)
		}
	}
	return func(total int, s *train.StepInfo, e *train.Eval) {
		if s != nil && s.Step%max(every, 1) != 0 && s.Step != total {
			s = nil
		}
		sayProgress(total, s, e)
	}
}

func printJSON(v any) error {
	b, err := storage.MarshalJSON(v, " ")
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(b))
	return err
}

func templateNames() (names []string) {
	for _, t := range templates.List() {
		names = append(names, t.Name)
	}
	return names
}

// oneTemplate wants the name of a template, and lists them where there is none.
func oneTemplate(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s wants the name of a template: %s", c.Name(), strings.Join(templateNames(), ", "))
	}
	return cobra.ExactArgs(1)(c, args)
}

// recipeCommand is a command that opens a run of a template and does one thing with it.
func recipeCommand(use, short, long string, do func(c *cobra.Command, f *recipeFlags, r *run.Run) error) *cobra.Command {
	var f recipeFlags
	c := &cobra.Command{Use: use + " TEMPLATE", Short: short, Long: long, Args: oneTemplate,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return templateNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			r, err := f.open(args[0])
			if r != nil {
				defer r.Close()
			}
			if err != nil {
				return err
			}
			return do(c, &f, r)
		}}
	f.add(c)
	return c
}

func runCommand() *cobra.Command {
	var watch kinds.Watch
	c := recipeCommand("run", "Run a template from raw text to a measured adapter",
		"Run prepares the text, scores the base model, trains an adapter, scores it, exports it and reports.\nThe same command continues "+
			"an interrupted run; a finished one prints its table again.\n"+
			"Continual learning takes the files that there are and ends; the same command later takes those that came since, and --watch "+
			"waits for them.",
		func(c *cobra.Command, f *recipeFlags, r *run.Run) error {
			if f.dryRun {
				err := kinds.DryRun(c.Context(), r)
				if storage.IsLocal(f.output) {
					err = errors.Join(err, os.RemoveAll(f.output))
				}
				return err
			}
			kind := kinds.Of(r.Recipe)
			if watch != (kinds.Watch{}) && !kind.Watches {
				return usage("--watch and --until-idle go with continual learning: adaptflow run continual-learning")
			}
			o, err := kind.Run(c.Context(), r, kinds.Options{Watch: watch})
			if err := printOutcome(f.json, f.output, o, err); err != nil || f.json {
				return err
			}
			sayAsks(kind, r)
			return nil
		})
	addWatch(c, &watch)
	return c
}

// printOutcome prints what a run gave: its summary, and that too many of its records were bad.
func printOutcome(json bool, output string, o kinds.Outcome, err error) error {
	if err != nil {
		return err
	}
	switch {
	case json:
		err = printJSON(o.Summary)
	case structured != nil:
		structured.Info("the run is finished", "output", output, "summary", o.Summary)
	default:
		o.Summary.Table(os.Stdout, output)
	}
	return errors.Join(err, o.Bad)
}

// sayAsks says by which command what a run gave can be asked.
func sayAsks(k kinds.Kind, r *run.Run) {
	if k.Asks == nil || structured != nil || !storage.IsLocal(r.Output) {
		return
	}
	say("ask it: %s", quoted(append([]string{"adaptflow"}, k.Asks(r.Recipe, r.Output)...)))
}

// quoted is a command as a shell takes it.
func quoted(words []string) string {
	for i, w := range words {
		if w == "" || strings.ContainsFunc(w, func(c rune) bool {
			return !strings.ContainsRune("-_=./:@,+", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
		}) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// commandLine is the process's command for a report, without the values that variables of workers are given.
func commandLine(args []string) string {
	words := []string{"adaptflow"}
	for i, w := range args[1:] {
		flag, value, ok := strings.Cut(w, "=")
		switch {
		case flag == "--worker-env" && ok:
			name, _, _ := strings.Cut(value, "=")
			w = flag + "=" + name
		case args[i] == "--worker-env":
			w, _, _ = strings.Cut(w, "=")
		}
		words = append(words, w)
	}
	return quoted(words)
}

func prepareCommand() *cobra.Command {
	return recipeCommand("prepare", "Turn the input of a recipe into packed Parquet shards", "",
		func(c *cobra.Command, f *recipeFlags, r *run.Run) error {
			d, err := kinds.Prepare(c.Context(), r)
			if err != nil {
				return err
			}
			t := d.Train
			if f.json {
				return errors.Join(printJSON(d), r.Bad(t.Funnel))
			}
			say("%d records read, %d kept; %d tokens in %d sequences, %.1f %% filled; shards in %s", t.Read, t.Kept, t.Tokens,
				t.Sequences, 100*t.FillRate,
				storage.Join(f.output, "shards"))
			return r.Bad(t.Funnel)
		})
}

func trainCommand() *cobra.Command {
	return recipeCommand("train", "Prepare the data of a recipe where needed, and train its adapter", "",
		func(c *cobra.Command, f *recipeFlags, r *run.Run) error {
			d, err := kinds.Prepare(c.Context(), r)
			if err != nil {
				return err
			}
			st, err := r.Train(c.Context(), d)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(st)
			}
			say("trained %d steps, last loss %.4f; checkpoints in %s", st.Step, st.History[len(st.History)-1].Loss,
				filepath.Join(r.Output, "checkpoints"))
			return nil
		})
}

func evaluateCommand() *cobra.Command {
	return recipeCommand("evaluate", "Score the base model, and the trained adapter where there is one, on a recipe's evaluation sets",
		measuresHelp(),
		func(c *cobra.Command, f *recipeFlags, r *run.Run) error {
			d, err := kinds.Prepare(c.Context(), r)
			if err != nil {
				return err
			}
			before, after, err := r.Scores(c.Context(), d)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(map[string]any{"before": before, "after": after})
			}
			for _, s := range []struct {
				name string
				e    *measure.Results
			}{{"base", before}, {"adapter", after}} {
				if s.e == nil {
					continue
				}
				for _, line := range measure.Summary(s.e) {
					say("%-8s %s", s.name, line)
				}
			}
			return nil
		})
}

func exportCommand() *cobra.Command {
	return recipeCommand("export", "Write the adapter of a trained run, as a Hugging Face PEFT folder and in what other formats its "+
		"recipe asks for", formatsHelp(),
		func(c *cobra.Command, f *recipeFlags, r *run.Run) error {
			if err := kinds.Of(r.Recipe).Export(c.Context(), r); err != nil {
				return err
			}
			for _, format := range export.Wanted(&r.Recipe.Export) {
				say("wrote %s", storage.Join(f.output, format.Folder))
			}
			return nil
		})
}

// measuresHelp lists what is measured.
func measuresHelp() string {
	s := "Evaluate measures the base model, and the trained adapter where there is one, by a recipe's section evaluate:\n"
	for _, m := range measure.Measures {
		s += fmt.Sprintf("\n  %-16s %s", m.Name, m.Doc)
	}
	return s
}

// formatsHelp lists the formats in which an adapter is written.
func formatsHelp() string {
	s := "Export writes the adapter of a trained run in the formats that its recipe's section export asks for:\n"
	for _, f := range export.Formats {
		s += fmt.Sprintf("\n  %-16s %s; of %s", f.Name, f.Doc, f.Takes)
	}
	return s
}
