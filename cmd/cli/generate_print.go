package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

// printing is one prompt of generate, and how what continues it is printed.
type printing struct {
	prompt, system, template string
	chat, json, stream       bool
	stops                    []string
}

func (o *printing) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.prompt, "prompt", "", "text to continue; - reads it from stdin")
	c.Flags().BoolVar(&o.chat, "chat", false, "the prompt is what a user says: the model's chat template goes around it")
	c.Flags().StringVar(&o.system, "system", "", "system prompt, with --chat")
	c.Flags().StringVar(&o.template, "chat-template", "", "file with a chat template in place of the model's own")
	c.Flags().StringArrayVar(&o.stops, "stop", nil, "text that ends the continuation, and isn't shown; repeat for more")
	c.Flags().BoolVar(&o.json, "json", false, "print the continuation as JSON; with --stream a line for each piece of it, too")
	c.Flags().BoolVar(&o.stream, "stream", true, "print text as it comes (with --json only where it is given)")
	c.PreRun = func(c *cobra.Command, _ []string) {
		o.stream = o.stream && (!o.json || c.Flags().Changed("stream"))
	}
}

// promptBytes is the most that a prompt from stdin may have.
const promptBytes = 16 << 20

// read reads the prompt from in where it is to.
func (o *printing) read(in *os.File) error {
	if o.prompt == "" {
		if info, err := in.Stat(); err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 && !info.Mode().IsRegular() {
			return usage("generate needs --prompt")
		}
	} else if o.prompt != "-" {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(in, promptBytes+1))
	if err != nil {
		return err
	}
	o.prompt = strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	switch {
	case len(raw) > promptBytes:
		return usage("stdin has more than %d bytes", promptBytes)
	case o.prompt == "":
		return usage("generate needs --prompt, and stdin has nothing")
	}
	return nil
}

// generated is a continuation as --json prints it: a piece of it has a text alone.
type generated struct {
	Text   string `json:"text"`
	Finish string `json:"finish_reason,omitempty"`
	Prompt int    `json:"prompt_tokens,omitempty"`
	Tokens int    `json:"completion_tokens,omitempty"`
}

// run continues the prompt and prints.
func (o *printing) run(m *infer.Model, s evaluate.Sampling) error {
	lines := json.NewEncoder(os.Stdout)
	lines.SetEscapeHTML(false)
	var ids []int32
	var err error
	if o.chat {
		turns := []infer.Turn{{Role: "user", Content: o.prompt}}
		if o.system != "" {
			turns = append([]infer.Turn{{Role: "system", Content: o.system}}, turns...)
		}
		ids, err = m.ChatPrompt(o.template, turns...)
	} else {
		ids, err = m.Prompt(o.prompt)
	}
	if err != nil {
		return err
	}
	if !o.chat && !o.json {
		fmt.Print(o.prompt)
	}
	out, err := m.Continue(ids, s, o.stops, func(text string) {
		switch {
		case o.stream && o.json:
			_ = lines.Encode(generated{Text: text})
		case o.stream:
			fmt.Print(text)
		}
	})
	switch {
	case err != nil:
		if !o.json {
			fmt.Println()
		}
		return err
	case o.json:
		return lines.Encode(generated{out.Text, out.Finish, len(ids), len(out.IDs)})
	case o.stream:
		fmt.Println()
	default:
		fmt.Println(out.Text)
	}
	if out.Empty != "" {
		say("%s", out.Empty)
	}
	return nil
}
