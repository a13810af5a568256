package tokenize

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// The prompts of Stanford Alpaca (Taori et al. 2023), for models without a chat template: what introduces them, and how a question is put.
const (
	alpacaInput = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response " +
		"that appropriately completes the request.\n\n"
	alpacaPlain = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
	askInput    = "### Instruction:\n%s\n\n### Input:\n%s\n\n### Response:\n"
	askPlain    = "### Instruction:\n%s\n\n### Response:\n"
)

// asked encodes an Alpaca row, or a plain prompt as if it were an instruction: turns of the chat template, or Alpaca's prompt where the
// model has none. The system text comes first; the answers of the history are learnt as those of a conversation are.
func (e *rowEncoder) asked(row *datasets.Row) (*chat.Tokens, error) {
	if len(row.Prompt) > 0 {
		if err := json.Unmarshal(row.Prompt, &row.Instruction); err != nil {
			return nil, &rowError{reason: datasets.ReasonWrongRow, err: fmt.Errorf("prompt: %w", err)}
		}
	}
	if len(e.templates) > 0 {
		return e.askedTurns(row)
	}
	var b strings.Builder
	var answers [][2]int
	intro := alpacaPlain
	switch {
	case row.System != "":
		intro = row.System + "\n\n"
	case row.Input != "":
		intro = alpacaInput
	}
	b.WriteString(intro)
	for _, h := range row.History {
		fmt.Fprintf(&b, askPlain, h[0])
		from := utf8.RuneCountInString(b.String())
		b.WriteString(h[1])
		answers = append(answers, [2]int{from, from + utf8.RuneCountInString(h[1])})
		b.WriteString("\n\n")
	}
	if row.Input != "" {
		fmt.Fprintf(&b, askInput, row.Instruction, row.Input)
	} else {
		fmt.Fprintf(&b, askPlain, row.Instruction)
	}
	var completion string
	if err := json.Unmarshal(row.Completion, &completion); err != nil {
		return nil, &rowError{reason: datasets.ReasonWrongRow, err: fmt.Errorf("completion: %w", err)}
	}
	out, err := e.plain(b.String(), completion)
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		out.LearnSpan(a[0], a[1])
	}
	return out, nil
}

func (e *rowEncoder) askedTurns(row *datasets.Row) (*chat.Tokens, error) {
	type message struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
		Train   bool            `json:"train,omitempty"` // an answer before the last is learnt too
	}
	text := func(s string) json.RawMessage {
		b, err := json.Marshal(s)
		if err != nil {
			panic(fmt.Sprintf("tokenize: a text cannot be written: %v", err))
		}
		return b
	}
	var prompt []message
	if row.System != "" {
		prompt = append(prompt, message{Role: "system", Content: text(row.System)})
	}
	for _, h := range row.History {
		prompt = append(prompt, message{Role: "user", Content: text(h[0])}, message{Role: "assistant", Content: text(h[1]), Train: true})
	}
	ask := row.Instruction
	if row.Input != "" {
		ask += "\n\n" + row.Input
	}
	prompt = append(prompt, message{Role: "user", Content: text(ask)})
	var err error
	if row.Prompt, err = json.Marshal(prompt); err != nil {
		return nil, err
	}
	if row.Completion, err = json.Marshal([]message{{Role: "assistant", Content: row.Completion}}); err != nil {
		return nil, err
	}
	return e.turns(row)
}
