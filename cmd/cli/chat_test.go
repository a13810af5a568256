package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/serve"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// TestChat: lines are answered with what was said before them, commands do what they say, and what is wrong ends nothing.
func TestChat(t *testing.T) {
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	e, err := serve.NewLive(serve.Options{Model: dir, Name: "base", Context: 200, Sequences: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	v, err := e.Open("base")
	if err != nil {
		t.Fatal(err)
	}
	c := &talk{e: e, v: v, system: "Be brief.", s: evaluate.Sampling{MaxNewTokens: 5}}
	file := filepath.Join(t.TempDir(), "chat.json")
	var out strings.Builder
	in := "hello\n\nhello\n/adapter none\n/nonsense\n/save " + file + "\n/reset\nhello\n/exit\nhello\n"
	if err := c.run(context.Background(), strings.NewReader(in), &out, false); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var saved struct{ Messages []serve.Turn }
	if err := json.Unmarshal(raw, &saved); err != nil || len(saved.Messages) != 5 || saved.Messages[0].Role != "system" ||
		saved.Messages[4].Role != "assistant" {
		t.Fatalf("%v: %s", err, raw)
	}
	if len(c.turns) != 3 || c.turns[2].Content != saved.Messages[2].Content {
		t.Errorf("behind /reset the conversation is %v; its first answer was %q", c.turns, saved.Messages[2].Content)
	}
	if !strings.HasPrefix(out.String(), saved.Messages[2].Content+"\n"+saved.Messages[4].Content+"\n") {
		t.Errorf("%q", out.String())
	}
}
