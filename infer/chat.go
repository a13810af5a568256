package infer

import (
	"cmp"
	"encoding/json"
	"os"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// Turn is what somebody says in a conversation: system, user or assistant.
type Turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// ChatPrompt are the tokens of a conversation as the model's chat template writes it, up to where the assistant answers; template is a
// file with one in its place, "" for none.
func (m *Model) ChatPrompt(template string, turns ...Turn) ([]int32, error) {
	tk, _, err := m.Text()
	if err != nil {
		return nil, err
	}
	dir := cmp.Or(m.tokens, m.Dir)
	set, err := chat.Load(dir)
	if err != nil {
		return nil, err
	}
	if template != "" {
		source, err := storage.ReadSmall(template, storage.KindTemplate)
		if err != nil {
			return nil, err
		}
		special, err := tokenize.SpecialTokens(os.DirFS(dir), ".")
		if err != nil {
			return nil, err
		}
		t, err := chat.NewNamed(template, string(source), special)
		if err != nil {
			return nil, err
		}
		set = chat.Set{"default": t}
	}
	t, err := set.Pick("", false)
	if err != nil {
		return nil, err
	}
	messages, err := json.Marshal(turns)
	if err != nil {
		return nil, err
	}
	out, err := t.Render(chat.Conversation{Messages: messages}, chat.Options{AddGenerationPrompt: true})
	if err != nil {
		return nil, err
	}
	return tk.AppendIDs(nil, out.Text, false)
}
