package tokenize

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	tok "github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// rowEncoder turns rows of several fields into tokens and labels, as TRL's SFTTrainer does.
type rowEncoder struct {
	t         tok.Tokenizer
	templates chat.Set
	loss      chat.Loss
	classes   map[string]int32
	max       int
	apply     bool // the chat template to plain prompts
}

func newRowEncoder(f *EncodeFn) (*rowEncoder, error) {
	e := &rowEncoder{t: f.t, loss: chat.Loss{CompletionOnly: f.CompletionOnly, AssistantOnly: f.AssistantOnly}, classes: map[string]int32{}, max: f.MaxTokens, apply: f.ApplyChatTemplate}
	for i, l := range f.Labels {
		e.classes[l] = int32(i)
	}
	if !storage.IsLocal(f.TokenizerDir) {
		return e, nil
	}
	var err error
	if e.templates, err = chat.Load(f.TokenizerDir); err != nil || f.ChatTemplate == "" {
		return e, err
	}
	b, err := storage.ReadSmall(f.ChatTemplate, storage.KindTemplate)
	if err != nil {
		return nil, fmt.Errorf("chat_template: %w", err)
	}
	t, err := chat.New(string(b), special(f.t))
	if err != nil {
		return nil, fmt.Errorf("chat_template %s: %w", f.ChatTemplate, err)
	}
	e.templates = chat.Set{"default": t}
	return e, nil
}

// special are the special tokens that a template may name.
func special(t tok.Tokenizer) map[string]string {
	out := map[string]string{}
	bos, eos, pad, unk := t.Special()
	for name, id := range map[string]int32{"bos_token": bos, "eos_token": eos, "pad_token": pad, "unk_token": unk} {
		if s, ok := t.IDToToken(id); ok && id >= 0 {
			out[name] = s
		}
	}
	return out
}

// The prompts of Stanford Alpaca (Taori et al. 2023), for models without a chat template.
const (
	alpacaInput = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n" +
		"### Instruction:\n%s\n\n### Input:\n%s\n\n### Response:\n"
	alpacaPlain = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n%s\n\n### Response:\n"
)

func (e *rowEncoder) encode(r *datasets.Record) (*chat.Tokens, error) {
	var row datasets.Row
	if err := json.Unmarshal([]byte(r.Row), &row); err != nil {
		return nil, fmt.Errorf("row: %w", err)
	}
	if row.Kind == datasets.RowClassification {
		return e.class(&row)
	}
	c := chat.Conversation{Messages: row.Messages, Tools: row.Tools}
	if row.Kind == datasets.RowMessages {
		t, err := e.templates.Pick("", len(row.Tools) > 0)
		if err != nil {
			return nil, err
		}
		if e.loss.AssistantOnly && !t.Marks() {
			return refused(t.AssistantTurns(e.t, c))
		}
		return refused(t.Tokens(e.t, c, e.loss))
	}
	if e.apply && strings.HasPrefix(strings.TrimSpace(string(row.Prompt)), `"`) {
		if err := json.Unmarshal(row.Prompt, &row.Instruction); err != nil {
			return nil, fmt.Errorf("prompt: %w", err)
		}
	}
	if row.Instruction != "" {
		if len(e.templates) > 0 {
			ask := row.Instruction
			if row.Input != "" {
				ask += "\n\n" + row.Input
			}
			type message struct {
				Role    string          `json:"role"`
				Content json.RawMessage `json:"content"`
			}
			q, err := json.Marshal(ask)
			if err != nil {
				return nil, err
			}
			if row.Prompt, err = json.Marshal([]message{{"user", q}}); err != nil {
				return nil, err
			}
			if row.Completion, err = json.Marshal([]message{{"assistant", row.Completion}}); err != nil {
				return nil, err
			}
		} else {
			prompt := fmt.Sprintf(alpacaPlain, row.Instruction)
			if row.Input != "" {
				prompt = fmt.Sprintf(alpacaInput, row.Instruction, row.Input)
			}
			var err error
			if row.Prompt, err = json.Marshal(prompt); err != nil {
				return nil, err
			}
		}
	}
	if strings.HasPrefix(strings.TrimSpace(string(row.Prompt)), "[") {
		t, err := e.templates.Pick("", len(row.Tools) > 0)
		if err != nil {
			return nil, err
		}
		loss := e.loss
		if loss.AssistantOnly && !t.Marks() { // the completion is what the assistant says
			loss = chat.Loss{CompletionOnly: true}
		}
		return refused(t.PromptCompletion(e.t, row.Prompt, row.Completion, c, loss))
	}
	var prompt, completion string
	if err := json.Unmarshal(row.Prompt, &prompt); err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	if err := json.Unmarshal(row.Completion, &completion); err != nil {
		return nil, fmt.Errorf("completion: %w", err)
	}
	return chat.PlainPromptCompletion(e.t, prompt, completion, e.loss)
}

// refused makes an error of rendering and marking a row the row's own: a template refuses turns that do not alternate, and the like.
func refused(t *chat.Tokens, err error) (*chat.Tokens, error) {
	if err != nil {
		return nil, &rowError{reason: "chat_template", err: err}
	}
	return t, nil
}
