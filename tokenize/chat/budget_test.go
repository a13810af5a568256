package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// TestRunOfRows: a template that every row lets work as long as a row may ends the run after a few, however cheap the rows before it were
// made to look; templates that write conversations are never stopped.
func TestRunOfRows(t *testing.T) {
	c := Conversation{Messages: json.RawMessage(`[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]`)}
	slow, err := NewNamed("slow.jinja", "{{ messages[0].content }}\n{% for i in range(100000) %}{% for j in range(2) %}{% if messages "+
		"%}{% endif %}{% endfor %}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	slow.Budget = jinja.NewBudget(5_000_000)
	rows := 0
	for ; err == nil && rows < 1000; rows++ {
		_, err = slow.Render(c, Options{})
	}
	var e *jinja.Error
	if !errors.As(err, &e) || !e.Run || rows > 20 || !strings.Contains(err.Error(), "slow.jinja") {
		t.Errorf("after %d rows: %v", rows, err)
	}
	if _, err := slow.Render(c, Options{}); !errors.As(err, &e) || !e.Run {
		t.Errorf("the row after: %v", err)
	}
	// Where one row may take less, so may all.
	less, err := New("{% for i in range(10000) %}{% if messages %}{% endif %}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	less.Limits = jinja.Limits{Steps: 150_000}
	for rows = 0; err == nil && rows < 1000; rows++ {
		_, err = less.Render(c, Options{})
	}
	if !errors.As(err, &e) || !e.Run || rows > 50 {
		t.Errorf("of low limits, after %d rows: %v", rows, err)
	}
	// A row that takes more than one may is that row's fault.
	row, err := New("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := row.Render(c, Options{}); !errors.As(err, &e) || e.Run || e.Kind != "LimitError" {
		t.Errorf("one row: %v", err)
	}

	set, err := LoadFS(os.DirFS(filepath.Join("..", "..", "templates", "assets", "files")), "lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	good, err := set.Pick("", false)
	if err != nil {
		t.Fatal(err)
	}
	good.Budget = jinja.NewBudget(1_000)
	for n := range 10_000 {
		if _, err := good.Render(c, Options{}); err != nil {
			t.Fatalf("row %d: %v", n, err)
		}
	}
	var turns []string
	for i := range 2000 {
		turns = append(turns, fmt.Sprintf(`{"role": %q, "content": "turn %d"}`, []string{"user", "assistant"}[i%2], i))
	}
	long := Conversation{Messages: json.RawMessage("[" + strings.Join(turns, ",") + "]")}
	for n := range 5 {
		if _, err := good.Render(long, Options{}); err != nil {
			t.Fatalf("long row %d: %v", n, err)
		}
	}
}

// TestNamedErrors: an error says which file the template is in, and at which line.
func TestNamedErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := Conversation{Messages: json.RawMessage(`[{"role": "user", "content": "x"}]`)}
	for name, x := range map[string]struct{ file, text, render, want string }{
		"a file":        {"chat_template.jinja", "a\nb{{ messages[0].content.x.y }}", "", "at line 2 of " + dir + "/chat_template.jinja"},
		"a parse error": {"chat_template.jinja", "a\n\n{% if %}", "", "at line 3 of " + dir + "/chat_template.jinja"},
		"a named one": {"additional_chat_templates/rag.jinja", "{{ nothing.x }}", "rag",
			"at line 1 of " + dir + "/additional_chat_templates/rag.jinja"},
		"a configuration": {"tokenizer_config.json", `{"chat_template": "\n\n{{ nothing.x }}"}`, "",
			`at line 3 of the chat_template "default" of ` + dir + "/tokenizer_config.json"},
		"a limit": {"chat_template.jinja", "\n{{ 'a' * 10**12 }}", "", "LimitError at line 2 of " + dir + "/chat_template.jinja"},
		"an if": {"chat_template.jinja", "\n\n{% if 'a' * 10**9 %}{% endif %}", "",
			"LimitError at line 3 of " + dir + "/chat_template.jinja"},
		"the text": {"chat_template.jinja", "\n" + strings.Repeat("{% for a in range(1000) %}", 3) + "\ntext\n" +
			strings.Repeat("{% endfor %}", 3), "", dir + "/chat_template.jinja"},
		"too long": {"chat_template.jinja", strings.Repeat("{{ 1 }}", 100_000), "", dir + "/chat_template.jinja"},
	} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		write(x.file, x.text)
		set, err := Load(dir)
		if err == nil {
			var tm *Template
			if tm, err = set.Pick(x.render, false); err == nil {
				_, err = tm.Render(c, Options{})
			}
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %s", name, err, x.want)
		}
	}
}

// TestManyTurns: a template without {% generation %} is rendered anew for each turn; a conversation of too many is refused, not worked on
// for hours.
func TestManyTurns(t *testing.T) {
	old := maxTurnSteps
	maxTurnSteps = 4_000_000
	defer func() { maxTurnSteps = old }()
	tm, err := New("{% for m in messages %}{% for i in range(3000) %}{% if i %}{% endif %}{% endfor %}{{ m.content }}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var turns []string
	for i := range 40 {
		turns = append(turns, fmt.Sprintf(`{"role": "assistant", "content": "%d"}`, i))
	}
	if _, err := tm.AssistantTurns(nil, Conversation{Messages: json.RawMessage("[" + strings.Join(turns, ",") + "]")}); err == nil ||
		!strings.Contains(err.Error(), "turns") && !strings.Contains(err.Error(), "steps") {
		t.Errorf("%v", err)
	}
}
