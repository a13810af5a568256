package serve

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// message is one of a conversation.
type message struct {
	Role    string     `json:"role"`
	Content *content   `json:"content"`
	Name    *string    `json:"name"`
	Calls   []toolCall `json:"tool_calls"`
	CallID  *string    `json:"tool_call_id"`
}

// content is what a message says: a text, or parts that are texts, one after another.
type content string

// UnmarshalJSON implements json.Unmarshaler.
func (c *content) UnmarshalJSON(raw []byte) error {
	var one string
	if raw[0] == '"' {
		err := json.Unmarshal(raw, &one)
		*c = content(one)
		return err
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return errors.New("it must be a text, or a list of parts of type text")
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type != "text" || p.Text == nil {
			return errors.New("only parts of type text are supported")
		}
		b.WriteString(*p.Text)
	}
	*c = content(b.String())
	return nil
}

// toolCall is an assistant's call of a tool.
type toolCall struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Function calledFunction `json:"function"`
}

type calledFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON, as a text
}

var roles = []string{"system", "developer", "user", "assistant", "tool", "function"}

func (m *message) check(i int) *Error {
	if !slices.Contains(roles, m.Role) {
		return bad("messages", "messages[%d].role is %q; it must be one of %s", i, m.Role, strings.Join(roles, ", "))
	}
	if m.Content == nil && (m.Role != "assistant" || len(m.Calls) == 0) {
		return bad("messages", "messages[%d] has no content", i)
	}
	for _, c := range m.Calls {
		if m.Role != "assistant" || c.Function.Name == "" {
			return bad("messages", "messages[%d].tool_calls: an assistant's message alone has them, each with the name of its function", i)
		}
	}
	return nil
}

// conversation is the messages as templates read them: arguments of calls are objects, and what a developer says is the system's.
func conversation(list []message) json.RawMessage {
	type function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	type call struct {
		ID       string   `json:"id"`
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	type turn struct {
		Role    string  `json:"role"`
		Content string  `json:"content"`
		Name    *string `json:"name,omitempty"`
		Calls   []call  `json:"tool_calls,omitempty"`
		CallID  *string `json:"tool_call_id,omitempty"`
	}
	var out []turn
	for _, m := range list {
		t := turn{Role: m.Role, Content: string(is(m.Content)), Name: m.Name, CallID: m.CallID}
		if t.Role == "developer" {
			t.Role = "system"
		}
		for _, c := range m.Calls {
			args := json.RawMessage(c.Function.Arguments)
			if !json.Valid(args) {
				args = encode(c.Function.Arguments)
			}
			t.Calls = append(t.Calls, call{c.ID, "function", function{c.Function.Name, args}})
		}
		out = append(out, t)
	}
	return encode(out)
}
