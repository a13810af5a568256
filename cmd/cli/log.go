package cli

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/adaptflow/adaptflow/train"
)

// structured is what --log-format json tells on stderr with: an object a line, with the time, the level, the run (which ends the names of
// its jobs on an engine), and the numbers of training by themselves. It is nil where people read.
var structured *slog.Logger

// addLogging adds the flag of all commands.
func addLogging(root *cobra.Command) {
	format := root.PersistentFlags().String("log-format", "text", "format of stderr: text for people, or json, one object a line")
	before := root.PersistentPreRunE
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		switch *format {
		case "text":
		case "json":
			structured = slog.New(slog.NewJSONHandler(os.Stderr, nil))
		default:
			return usage("--log-format %q: want text or json", *format)
		}
		return before(c, args)
	}
}

// ofRun has every line name the run from now on.
func ofRun(id string) {
	if structured != nil {
		structured = structured.With("run", id)
	}
}

// say tells a line.
func say(format string, a ...any) {
	if structured == nil {
		fmt.Fprintf(os.Stderr, format+"\n", a...)
		return
	}
	text := fmt.Sprintf(format, a...)
	if rest, ok := strings.CutPrefix(text, "warning: "); ok {
		structured.Warn(rest)
	} else {
		structured.Info(strings.TrimSpace(text))
	}
}

// sayError tells why the program ends.
func sayError(text string) {
	if structured == nil {
		fmt.Fprintln(os.Stderr, "adaptflow: "+text)
	} else {
		structured.Error(text)
	}
}

// forPeople says whether stderr is a terminal that people read.
func forPeople() bool { return structured == nil && term.IsTerminal(int(os.Stderr.Fd())) }

// sayProgress tells an optimiser step or an evaluation.
func sayProgress(total int, s *train.StepInfo, e *train.Eval) {
	if structured == nil {
		if e != nil {
			say("step %d: eval_loss %.4f%s", e.Step, e.Loss, metrics(e.Metrics))
		}
		if s != nil {
			say("step %d of %d: loss %.4f%s, learning rate %.2e, gradient norm %.3f, %.0f tokens/s", s.Step, total, s.Loss,
				metrics(s.Metrics), s.LearningRate, s.GradNorm, float64(s.Tokens)/max(s.Seconds, 1e-9))
		}
		return
	}
	if e != nil {
		structured.Info("evaluation", append([]any{"step", e.Step, "eval_loss", e.Loss}, attributes(e.Metrics)...)...)
	}
	if s != nil {
		structured.Info("step", append([]any{"step", s.Step, "max_steps", total, "loss", s.Loss, "learning_rate", s.LearningRate,
			"grad_norm", s.GradNorm, "tokens", s.Tokens, "seconds", s.Seconds}, attributes(s.Metrics)...)...)
	}
}

// metrics are an objective's own numbers in a line for people.
func metrics(m map[string]float64) (text string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		text += fmt.Sprintf(", %s %.4g", name, m[name])
	}
	return text
}

// attributes are the same numbers in an object, in one of their own.
func attributes(m map[string]float64) []any {
	if len(m) == 0 {
		return nil
	}
	return []any{"metrics", m}
}
