// Package cli is the command adaptflow as a library: a program of another module that registers methods, objectives, rules, measures or
// export formats of its own calls [Main], and is adaptflow with them, as the driver of a run and as the worker of its runner.
package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	_ "github.com/adaptflow/adaptflow/cmd/cli/early" // refuses what Go's runtime would die of
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// usageError is wrong use of the command: exit code 2.
type usageError struct{ error }

func usage(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// Main is the whole of the command: it runs what the process's arguments say, as a person or a runner gave them, and ends the process with
// the exit code. What a program registers it has registered by then, in init functions, as workers are the same program. A program whose
// sockets are to be confined to the machine says //go:debug multipathtcp=0 in its main package, as cmd/adaptflow does.
func Main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30) // the heap; weights and activations lie outside it
	}
	if runners.IsWorker(os.Args[1:]) { // a runner's, not a person's
		if err := runners.Worker(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "adaptflow: "+strings.Join(strings.Fields(err.Error()), " "))
			os.Exit(1)
		}
		return
	}
	initialise()
	if runners.IsLaunch(os.Args[1:]) {
		os.Exit(exitCode(context.Background(), launch(context.Background(), os.Args[1:])))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(exitCode(ctx, execute(mem.Own(ctx))))
}

// initialise makes the process a Beam program, and quietens the runner, whose every job would be several lines in the log: what fails comes
// back as an error, and the runner's own account of it would stand beside ours.
func initialise() {
	beam.Init()
	slog.SetDefault(slog.New(slog.DiscardHandler))
}

func execute(ctx context.Context) error {
	if err := kernels.CheckEnv(); err != nil {
		return usageError{err}
	}
	c := command()
	err := c.ExecuteContext(ctx)
	var name string
	if err != nil {
		if _, no := fmt.Sscanf(err.Error(), "unknown command %q", &name); no == nil {
			meant := "adaptflow --help lists the commands"
			if like := c.SuggestionsFor(name); len(like) > 0 {
				meant = "did you mean " + like[0] + "?"
			}
			return usage("adaptflow has no command %q; %s", name, meant)
		}
	}
	return err
}

// exitCode prints the error as one line and chooses the code: 0 done, 1 failed, 2 wrong usage or output in use, 3 finished with too many
// bad records, 130 interrupted.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		text := "interrupted"
		if !errors.Is(err, errMeasuring) {
			text += "; the same command continues from the last checkpoint"
		}
		sayError(text)
		return 130
	}
	sayError(strings.Join(strings.Fields(err.Error()), " "))
	var u usageError
	switch {
	case errors.As(err, &u), errors.Is(err, storage.ErrInUse):
		return 2
	case errors.Is(err, prepare.ErrTooManyBad):
		return 3
	}
	return 1
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "adaptflow",
		Short: "Adapt language models on ordinary CPUs",
		Long: "adaptflow adapts language models to a domain, a language, a task or a person, on ordinary CPUs, as Apache Beam " +
			"pipelines.\nStart with: adaptflow run domain-adaptation",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,

		PersistentPreRunE: checkBounds,
	}
	addLogging(root)
	addKernels(root)
	root.AddCommand(serverCommands()...)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(runCommand(), forgetCommand(), prepareCommand(), trainCommand(), evaluateCommand(), exportCommand(),
		templatesCommand(), generateCommand(),
		logitsCommand(), mergeCommand(), combineCommand(), quantizeCommand(), planCommand(), recipeReference(), inspectCommand(),
		benchCommand(), tokenizerCommand(), ggufCommand(), licensesCommand(), versionCommand(), serveCommand(), chatCommand())
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// flagError is a usage error that names the flag which an unknown one is most like.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return usageError{err}
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := nearest.Name(unknown.GetSpecifiedName(), names)
	if name == "" || nearest.Distance(name, unknown.GetSpecifiedName()) > len(name)/2 {
		return usage("%w; see %s --help", err, c.CommandPath())
	}
	return usage("%w; did you mean --%s?", err, name)
}

// wrapArgs makes wrong arguments of a command and of those below it usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				_, wanted, _ := strings.Cut(c.Use, " ")
				if len(args) == 0 && wanted != "" && wanted != "TEMPLATE" {
					return usage("%s needs %s; see %s --help", c.CommandPath(), wanted, c.CommandPath())
				}
				return usage("%w; see %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, s := range c.Commands() {
		wrapArgs(s)
	}
}
