package chat

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TestAssistantTurns: without {% generation %} the labels are those that a template with it gives, over several turns; a template that
// cannot be read from left to right is refused.
func TestAssistantTurns(t *testing.T) {
	tk, err := tokenize.Load(filepath.Join(golden.Root(t, filepath.Join("..", "testdata")), "tokenizer"))
	if err != nil {
		t.Fatal(err)
	}
	const marked = "{% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }}\n{% endgeneration %}{% else " +
		"%}U: {{ m.content }}\n{% endif %}{% endfor %}" +
		"{% if add_generation_prompt %}A: {% endif %}"
	open := func(s string) *Template {
		x, err := New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	c := Conversation{Messages: json.RawMessage(`[{"role":"user","content":"one é two"},{"role":"assistant","content":"three"},{"role":"user","content":"four"},{"role":"assistant","content":"five six"}]`)}
	want, err := open(marked).Tokens(tk, c, Loss{AssistantOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("{% generation %}", "", "{% endgeneration %}", "").Replace(marked)
	got, err := open(plain).AssistantTurns(tk, c)
	if err != nil || !slices.Equal(got.IDs, want.IDs) || !slices.Equal(got.Labels, want.Labels) {
		t.Errorf("%v %v\nwant %v", got, err, want)
	}
	if _, err := open("{{ messages | length }}"+plain).AssistantTurns(tk, c); err == nil ||
		!strings.Contains(err.Error(), "{% generation %}") {
		t.Errorf("a template that begins with the number of messages: %v", err)
	}
	c.Messages = json.RawMessage(`[{"role":"user","content":"one"}]`)
	if _, err := open(plain).AssistantTurns(tk, c); err == nil {
		t.Error("nothing to learn from was accepted")
	}
}
