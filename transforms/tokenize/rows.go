package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	tok "github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// rowEncoder turns rows of several fields into tokens and labels, as TRL's SFTTrainer does.
type rowEncoder struct {
	t         tok.Tokenizer
	frame     *tok.Frame
	before    bool // as version 0.1 did it
	templates chat.Set
	loss      chat.Loss
	classes   map[string]int32
	max       int
	apply     bool // the chat template to plain prompts
}

func newRowEncoder(f *EncodeFn) (*rowEncoder, error) {
	e := &rowEncoder{t: f.t, frame: f.frame, before: f.Before,
		loss: chat.Loss{CompletionOnly: f.CompletionOnly, AssistantOnly: f.AssistantOnly}, classes: map[string]int32{}, max: f.MaxTokens,
		apply: f.ApplyChatTemplate}
	for i, l := range f.Labels {
		e.classes[l] = int32(i)
	}
	if !storage.IsLocal(f.dir) {
		return e, nil
	}
	var err error
	if e.templates, err = chat.Load(f.dir); err != nil || f.ChatTemplate == "" {
		f.share(e.templates)
		return e, err
	}
	b, err := storage.ReadSmall(f.ChatTemplate, storage.KindTemplate)
	if err != nil {
		return nil, fmt.Errorf("chat_template: %w", err)
	}
	t, err := chat.NewNamed(f.ChatTemplate, string(b), special(f.t))
	if err != nil {
		return nil, fmt.Errorf("chat_template: %w", err)
	}
	e.templates = chat.Set{"default": t}
	f.share(e.templates)
	return e, nil
}

// budgets are what templates may take in this process, by run and source: a run has many instances of a DoFn, and each reads the template.
var budgets = struct {
	sync.Mutex
	runs map[string]map[string]*jinja.Budget // by [EncodeFn.OutDir], which is one run's
}{runs: map[string]map[string]*jinja.Budget{}}

// share gives the templates what is left of the run's budgets. Those of no run, which records of any length come by, keep their own.
func (f *EncodeFn) share(s chat.Set) {
	if f.OutDir == "" {
		return
	}
	budgets.Lock()
	defer budgets.Unlock()
	run := budgets.runs[f.OutDir]
	if run == nil {
		run = map[string]*jinja.Budget{}
		budgets.runs[f.OutDir] = run
	}
	for _, t := range s {
		if run[t.Source] == nil {
			run[t.Source] = t.Budget
		}
		t.Budget = run[t.Source]
	}
}

// Forget forgets what templates took in the run that tokenizes into outDir, which has ended: one that begins there anew may take as much.
func Forget(outDir string) {
	budgets.Lock()
	defer budgets.Unlock()
	delete(budgets.runs, outDir)
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

func (e *rowEncoder) encode(r *datasets.Record) (*chat.Tokens, error) {
	var row datasets.Row
	if err := json.Unmarshal([]byte(r.Row), &row); err != nil {
		return nil, fmt.Errorf("row: %w", err)
	}
	switch row.Kind {
	case datasets.RowClassification:
		return e.class(&row)
	case datasets.KindPreference, datasets.KindUnpaired, datasets.KindPrompt:
		return e.answers(&row)
	}
	if row.Kind == datasets.RowMessages {
		return e.messages(&row)
	}
	if len(row.Prompt) == 0 || e.apply && isText(row.Prompt) {
		return e.asked(&row)
	}
	if isText(row.Prompt) {
		return e.texts(row.Prompt, row.Completion)
	}
	return e.turns(&row)
}

func isText(raw json.RawMessage) bool { return strings.HasPrefix(strings.TrimSpace(string(raw)), `"`) }

// messages encodes a conversation.
func (e *rowEncoder) messages(row *datasets.Row) (*chat.Tokens, error) {
	c, err := conversation(row, row.Messages)
	if err != nil {
		return refused(nil, err)
	}
	t, err := e.templates.Pick("", len(row.Tools) > 0)
	if err != nil {
		return nil, err
	}
	c.Messages = row.Messages
	if e.loss.AssistantOnly && !t.Marks() {
		return refused(t.AssistantTurns(e.t, c))
	}
	return refused(t.Tokens(e.t, c, e.loss))
}

// turns encodes a prompt and a completion that are lists of messages.
func (e *rowEncoder) turns(row *datasets.Row) (*chat.Tokens, error) {
	c, err := conversation(row, row.Prompt, row.Completion)
	if err != nil {
		return refused(nil, err)
	}
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

// conversation is what a template is given beside the messages, and what these say of learning.
func conversation(row *datasets.Row, lists ...json.RawMessage) (chat.Conversation, error) {
	c := chat.Conversation{Tools: row.Tools, Kwargs: row.Kwargs}
	for _, l := range lists {
		var ms []map[string]json.RawMessage
		if err := json.Unmarshal(l, &ms); err != nil {
			return c, fmt.Errorf("a list of messages is wanted: %w", err)
		}
		for i, m := range ms {
			l, what := datasets.LearningOf(m)
			if what != "" {
				return c, fmt.Errorf("message %d: %s", i, what)
			}
			c.Learn = append(c.Learn, chat.Learning(l))
		}
	}
	return c, nil
}

// texts encodes a prompt and a completion that are texts.
func (e *rowEncoder) texts(p, c json.RawMessage) (*chat.Tokens, error) {
	var prompt, completion string
	if err := json.Unmarshal(p, &prompt); err != nil {
		return nil, &rowError{reason: datasets.ReasonWrongRow, err: fmt.Errorf("prompt: %w", err)}
	}
	if err := json.Unmarshal(c, &completion); err != nil {
		return nil, &rowError{reason: datasets.ReasonWrongRow, err: fmt.Errorf("completion: %w", err)}
	}
	return e.plain(prompt, completion)
}

func (e *rowEncoder) plain(prompt, completion string) (*chat.Tokens, error) {
	if e.before {
		return chat.PlainPromptCompletionBefore(e.t, prompt, completion, e.loss)
	}
	return chat.PlainPromptCompletion(e.frame, prompt, completion, e.loss)
}

// refused makes an error of rendering and marking a row the row's own: a template refuses turns that do not alternate, and the like. That a
// template takes too much for all its rows is the run's.
func refused(t *chat.Tokens, err error) (*chat.Tokens, error) {
	if e := (*jinja.Error)(nil); errors.As(err, &e) {
		if e.Run {
			return nil, err
		}
		if e.Template != "" { // dead letters are the same on every machine
			err = errors.New(strings.Replace(err.Error(), e.Template, filepath.Base(e.Template), 1))
		}
	}
	if err != nil {
		return nil, &rowError{reason: "chat_template", err: err}
	}
	return t, nil
}
