package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/serve"
)

// talk is a conversation at the terminal.
type talk struct {
	e      serve.Engine
	v      *serve.Voice
	turns  []serve.Turn
	system string
	s      evaluate.Sampling
	stop   []string
}

func chatCommand() *cobra.Command {
	var model, dtype string
	var adapters []string
	var o serve.Options
	t := &talk{}
	c := &cobra.Command{Use: "chat", Short: "Chat with a model and its adapters at the terminal", Args: cobra.NoArgs,
		Long: `Chat reads your turns from stdin, one a line, and streams the answers in the model's chat template. The last --adapter
answers first. Lines that begin with / are commands: /adapter NAME (or the model's name for the base alone), /reset, /save FILE (messages as JSON), /exit.`,
		RunE: func(c *cobra.Command, _ []string) error {
			t.s.DoSample = t.s.Temperature > 0
			if err := t.s.Validate(); err != nil {
				return usageError{err}
			}
			first := ""
			for _, a := range adapters {
				n := infer.ParseNamed(a)
				if n.Name == "" || n.Dir == "" {
					return usage("--adapter %q: want NAME=FOLDER", a)
				}
				o.Adapters.Named, first = append(o.Adapters.Named, n), n.Name
			}
			var err error
			if o.Model, err = openModel(model); err != nil {
				return err
			}
			o.Name, o.DType, o.Sequences = filepath.Base(filepath.Clean(model[strings.LastIndexByte(model, ':')+1:])), dtype, 1
			e, err := serve.NewLive(o)
			if err != nil {
				return err
			}
			defer e.Close()
			if first == "" {
				first = o.Name
			}
			t.e = e
			if t.v, err = e.Open(first); err != nil {
				return err
			}
			t.v.Defaults.Fill(&t.s, func(name string) bool {
				f := c.Flags().Lookup(strings.ReplaceAll(name, "_", "-"))
				return f != nil && f.Changed
			})
			say("talking with %s; /adapter NAME, /reset, /save FILE, /exit", first)
			return t.run(c.Context(), os.Stdin, os.Stdout, forPeople())
		}}
	f := c.Flags()
	f.StringVar(&model, "model", modelDefault, modelHelp)
	f.StringArrayVar(&adapters, "adapter", nil, "NAME=FOLDER of an adapter, or of a run that ends with one; repeat for more")
	f.StringVar(&dtype, "dtype", "", "how the weights are stored: a dtype such as bfloat16, or auto (default float32)")
	f.StringVar(&o.Template, "chat-template", "", "file with a chat template in place of the models' own")
	f.StringVar(&t.system, "system", "", "system prompt of the conversation")
	f.StringArrayVar(&t.stop, "stop", nil, "text that ends an answer; repeat for more")
	f.IntVar(&t.s.MaxNewTokens, "max-new-tokens", 512, "tokens of an answer at most")
	f.Float64Var(&t.s.Temperature, "temperature", 0, "sampling temperature; 0 takes the likeliest token")
	f.IntVar(&t.s.TopK, "top-k", 0, "draw from the k likeliest tokens")
	f.Float64Var(&t.s.TopP, "top-p", 1, "draw from the likeliest tokens of this probability in all")
	f.Float64Var(&t.s.RepetitionPenalty, "repetition-penalty", 1, "penalty on tokens that have occurred")
	f.Uint64Var(&t.s.Seed, "seed", 42, "seed of the draws")
	return c
}

// run reads lines until the end or /exit. What is wrong with one is said, and the conversation goes on.
func (t *talk) run(ctx context.Context, in io.Reader, out io.Writer, prompt bool) error {
	t.reset()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for {
		if prompt {
			fmt.Fprint(out, "> ")
		}
		if !lines.Scan() || ctx.Err() != nil {
			return errors.Join(lines.Err(), context.Cause(ctx))
		}
		line := strings.TrimSpace(lines.Text())
		if line == "/exit" {
			return nil
		}
		if line == "" {
			continue
		}
		if err := t.line(ctx, line, out); err != nil {
			if ctx.Err() != nil {
				return err
			}
			say("%v", err)
		}
	}
}

func (t *talk) reset() {
	t.turns = nil
	if t.system != "" {
		t.turns = []serve.Turn{{Role: "system", Content: t.system}}
	}
}

// line does what a line says.
func (t *talk) line(ctx context.Context, line string, out io.Writer) error {
	if !strings.HasPrefix(line, "/") {
		turns := append(t.turns, serve.Turn{Role: "user", Content: line})
		text, err := serve.Talk(ctx, t.e, t.v, turns, t.s, t.stop, func(s string) { fmt.Fprint(out, s) })
		fmt.Fprintln(out)
		if err != nil {
			return err
		}
		t.turns = append(turns, serve.Turn{Role: "assistant", Content: text})
		return nil
	}
	command, rest, _ := strings.Cut(line, " ")
	switch rest = strings.TrimSpace(rest); {
	case command == "/adapter" && rest != "":
		v, err := t.e.Open(rest)
		if err != nil {
			return fmt.Errorf("%s: %w", rest, err)
		}
		t.v = v
		say("talking with %s", rest)
	case command == "/reset":
		t.reset()
	case command == "/save" && rest != "":
		return t.save(rest)
	default:
		return fmt.Errorf("%s: the commands are /adapter NAME, /reset, /save FILE, /exit", line)
	}
	return nil
}

// save writes the conversation as a row of messages, which a recipe can learn from.
func (t *talk) save(to string) error {
	f, err := storage.Create(to)
	if err != nil {
		return err
	}
	defer f.Abort()
	e := json.NewEncoder(f)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any{"messages": t.turns}); err != nil {
		return err
	}
	return f.Commit()
}
