package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// Learning says whether a message is learnt, whatever the loss says.
type Learning int8

// What may be said of a message.
const (
	LearnAsSet Learning = iota
	LearnNever
	LearnAlways
)

// maxTurnSteps bounds what the renderings of one conversation take together, whose number and length grow with it; some seconds.
var maxTurnSteps = 50_000_000

// begins is how many code points of a conversation's text its first messages have. A template that does not write conversations from left
// to right is refused.
func (t *Template) begins(whole *Rendered, c Conversation, messages []json.RawMessage, prompt bool) (int, error) {
	var err error
	if c.Messages, err = json.Marshal(messages); err != nil {
		return 0, err
	}
	r, err := t.Render(c, Options{AddGenerationPrompt: prompt})
	if err != nil {
		return 0, err
	}
	if whole.Steps += r.Steps; whole.Steps > maxTurnSteps {
		return 0, errors.New("assistant_only_loss, or a turn's weight: the conversation has too many turns for a chat template without " +
			"{% generation %}, which is rendered anew for each: " +
			"give one with it (chat_template), or shorter conversations")
	}
	if !strings.HasPrefix(whole.Text, r.Text) {
		return 0, errors.New("assistant_only_loss, or a turn's weight: the chat template writes the beginning of a conversation " +
			"otherwise when more follows, so what is said in a turn cannot be separated; " +
			"give one with {% generation %} (chat_template)")
	}
	return utf8.RuneCountInString(r.Text), nil
}

// learn gives the tokens of the messages that c.Learn names a loss, or none.
func (t *Template) learn(out *Tokens, r *Rendered, c Conversation) error {
	named := false
	for _, l := range c.Learn {
		named = named || l != LearnAsSet
	}
	if !named {
		return nil
	}
	var messages []json.RawMessage
	if err := json.Unmarshal(c.Messages, &messages); err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	roles, assistants := make([]string, len(messages)), 0
	for i, raw := range messages {
		var m struct{ Role string }
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("messages[%d]: %w", i, err)
		}
		if roles[i] = m.Role; m.Role == "assistant" {
			assistants++
		}
	}
	said := 0 // turns of the assistant before
	for i, role := range roles {
		assistant := role == "assistant"
		if i < len(c.Learn) && c.Learn[i] != LearnAsSet {
			s := jinja.Span{}
			if assistant && len(r.Assistant) == assistants { // {% generation %} says where each is
				s = r.Assistant[said]
			} else {
				var err error
				if i > 0 {
					if s.Start, err = t.begins(r, c, messages[:i], assistant); err != nil {
						return err
					}
				}
				if s.End, err = t.begins(r, c, messages[:i+1], false); err != nil {
					return err
				}
			}
			out.set(s, c.Learn[i] == LearnAlways)
		}
		if assistant {
			said++
		}
	}
	return nil
}

// set gives the tokens that begin within a span a loss, or none.
func (t *Tokens) set(s jinja.Span, loss bool) {
	for i, at := range t.Spans {
		if int(at[0]) < s.Start || int(at[0]) >= s.End || at[0] == at[1] {
			continue
		}
		if t.Labels[i] = Ignored; loss {
			t.Labels[i] = t.IDs[i]
		}
	}
}

// LearnSpan gives the tokens that begin within [from, to), in code points of the example's text, a loss.
func (t *Tokens) LearnSpan(from, to int) { t.set(jinja.Span{Start: from, End: to}, true) }
