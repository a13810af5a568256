package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// Ignored is the label of a token without a loss.
const Ignored = -100

// Loss says which tokens of an example have a loss, as TRL's SFTConfig does.
type Loss struct {
	// CompletionOnly: those of the completion of a prompt-completion example only (completion_only_loss).
	CompletionOnly bool
	// AssistantOnly: those inside the template's {% generation %} only (assistant_only_loss).
	AssistantOnly bool
}

// Tokens are the ids of an example and its labels (unshifted, Ignored where there is no loss), of one length.
type Tokens struct {
	IDs, Labels []int32
	// Spans are each token's [start, end) in the text that was made of the row, in code points; empty for tokens that the tokenizer adds.
	Spans [][2]int32
	// Mismatch: the ids of the prompt alone do not begin those of prompt and completion, so the border of the completion is off by a token
	// or more. TRL warns.
	Mismatch bool
	// Cut are the tokens at the ends of answers that were cut off.
	Cut int
}

// errNoAssistant is what TRL raises for an example of which nothing would be trained.
var errNoAssistant = errors.New("assistant_only_loss: no token of the conversation is inside the template's {% generation %}; the " +
	"template marks nothing, or the conversation has no assistant message")

// Mask is transformers' return_assistant_tokens_mask: 1 for the tokens of the spans, given the offsets of all tokens in code points.
func Mask(offsets [][2]int32, spans []jinja.Span) []uint8 {
	mask := make([]uint8, len(offsets))
	at := 0
	token := func(char int) int { // the first token that has the character, -1 none
		for at > 0 && int(offsets[at-1][1]) > char {
			at--
		}
		for i := at; i < len(offsets); i++ {
			if int(offsets[i][0]) <= char && char < int(offsets[i][1]) {
				at = i
				return i
			}
			if int(offsets[i][0]) > char {
				break
			}
		}
		return -1
	}
	for _, s := range spans {
		from := token(s.Start)
		if from < 0 {
			break
		}
		to := token(s.End-1) + 1
		if to <= 1 { // transformers takes no token, and the first one, for the end of the text
			to = len(mask)
		}
		for i := from; i < to; i++ {
			mask[i] = 1
		}
	}
	return mask
}

// Tokens makes the tokens of a conversation (rows with `messages`).
func (t *Template) Tokens(tk tokenize.Tokenizer, c Conversation, loss Loss) (*Tokens, error) {
	r, err := t.Render(c, Options{})
	if err != nil {
		return nil, err
	}
	var out *Tokens
	if loss.AssistantOnly {
		out, err = assistant(tk, r)
	} else {
		out, err = encoded(tk, r.Text, false)
	}
	if err != nil {
		return nil, err
	}
	return out, t.learn(out, r, c)
}

// encoded are the tokens of a text, all with a loss.
func encoded(tk tokenize.Tokenizer, text string, special bool) (*Tokens, error) {
	e, err := tk.Encode(text, special)
	if err != nil {
		return nil, err
	}
	return &Tokens{IDs: e.IDs, Labels: append([]int32(nil), e.IDs...), Spans: e.Offsets}, nil
}

func assistant(tk tokenize.Tokenizer, r *Rendered) (*Tokens, error) {
	out, err := encoded(tk, r.Text, false)
	if err != nil {
		return nil, err
	}
	any := false
	for i, m := range Mask(out.Spans, r.Assistant) {
		if m == 0 {
			out.Labels[i] = Ignored
		} else {
			any = true
		}
	}
	if !any {
		return nil, errNoAssistant
	}
	return out, nil
}

// AssistantTurns makes the tokens of a conversation with a loss on what the assistant says, for templates without {% generation %} (where
// TRL gives up): an assistant message is what the conversation up to it has beyond the conversation before it with the generation prompt. A
// template that does not write conversations from left to right is refused.
func (t *Template) AssistantTurns(tk tokenize.Tokenizer, c Conversation) (*Tokens, error) {
	whole, err := t.Render(c, Options{})
	if err != nil {
		return nil, err
	}
	var messages []json.RawMessage
	if err := json.Unmarshal(c.Messages, &messages); err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	for i, raw := range messages {
		var m struct{ Role string }
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		if m.Role != "assistant" {
			continue
		}
		s := jinja.Span{}
		if s.Start, err = t.begins(whole, c, messages[:i], true); err != nil {
			return nil, err
		}
		if s.End, err = t.begins(whole, c, messages[:i+1], false); err != nil {
			return nil, err
		}
		if s.End > s.Start {
			whole.Assistant = append(whole.Assistant, s)
		}
	}
	out, err := assistant(tk, whole)
	if err != nil {
		return nil, err
	}
	return out, t.learn(out, whole, c)
}

// PromptCompletion makes the tokens of an example whose prompt and completion are lists of messages: the prompt is rendered with the
// generation prompt, the whole without.
func (t *Template) PromptCompletion(tk tokenize.Tokenizer, prompt, completion json.RawMessage, c Conversation, loss Loss) (*Tokens, error) {
	c.Messages = prompt
	p, err := t.Render(c, Options{AddGenerationPrompt: true})
	if err != nil {
		return nil, err
	}
	both, err := concat(prompt, completion)
	if err != nil {
		return nil, err
	}
	c.Messages = both
	whole, err := t.Render(c, Options{})
	if err != nil {
		return nil, err
	}
	before, err := tk.AppendIDs(nil, p.Text, false)
	if err != nil {
		return nil, err
	}
	var out *Tokens
	if loss.AssistantOnly {
		out, err = assistant(tk, whole)
	} else {
		out, err = encoded(tk, whole.Text, false)
	}
	if err != nil {
		return nil, err
	}
	out.cut(before, loss.CompletionOnly)
	return out, t.learn(out, whole, c)
}

// cut leaves the prompt without a loss.
func (t *Tokens) cut(prompt []int32, only bool) {
	for i, id := range prompt {
		t.Mismatch = t.Mismatch || i >= len(t.IDs) || t.IDs[i] != id
		if only && i < len(t.Labels) {
			t.Labels[i] = Ignored
		}
	}
}

func concat(a, b json.RawMessage) (json.RawMessage, error) {
	var x, y []json.RawMessage
	if err := json.Unmarshal(a, &x); err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		return nil, fmt.Errorf("completion: %w", err)
	}
	return json.Marshal(append(x, y...))
}

// PlainPromptCompletion makes the tokens of an example whose prompt and completion are texts, with what f says of their beginning and end.
func PlainPromptCompletion(f *tokenize.Frame, prompt, completion string, loss Loss) (*Tokens, error) {
	if !utf8.ValidString(prompt) || !utf8.ValidString(completion) {
		return nil, errors.New("the example is not valid UTF-8")
	}
	before, err := f.Prompt(prompt)
	if err != nil {
		return nil, err
	}
	e, err := f.Completion(prompt, completion)
	if err != nil {
		return nil, err
	}
	out := &Tokens{IDs: e.IDs, Labels: append([]int32(nil), e.IDs...), Spans: e.Offsets}
	out.cut(before, loss.CompletionOnly)
	return out, nil
}

// PlainPromptCompletionBefore is PlainPromptCompletion as version 0.1 made it, for output folders that it began.
func PlainPromptCompletionBefore(tk tokenize.Tokenizer, prompt, completion string, loss Loss) (*Tokens, error) {
	if !utf8.ValidString(prompt) || !utf8.ValidString(completion) {
		return nil, errors.New("the example is not valid UTF-8")
	}
	_, eos, _, _ := tk.Special()
	if tok, ok := tk.IDToToken(eos); ok && !strings.HasSuffix(completion, tok) {
		completion += tok
	}
	before, err := tk.AppendIDs(nil, prompt, true)
	if err != nil {
		return nil, err
	}
	out, err := encoded(tk, prompt+completion, true)
	if err != nil {
		return nil, err
	}
	out.cut(before, loss.CompletionOnly)
	return out, nil
}
