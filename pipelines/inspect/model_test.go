package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/templates/assets"
)

// TestModel: a model folder is described whole, and one that cannot be trained says why.
func TestModel(t *testing.T) {
	dir, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(path string) string {
		t.Helper()
		facts, err := Path(path)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, f := range facts {
			text += fmt.Sprintf("%s: %v\n", f.Name, f.Value)
		}
		return text
	}
	got := shown("embedded:lm-en-5m")
	for _, want := range []string{"model: embedded:lm-en-5m\n", "supported: yes, ", "5475584 (5.5M)", "layers: 6 of ", "context: ",
		"tokenizer: ", "chat template: default", "stored as ", "generates: ", "licence: see adaptflow licenses\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
	own := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(own, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(own, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config.json": strings.Replace(string(raw), "ForCausalLM", "ForNothing", 1),
		"README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\nlicense: no\n"} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(own, "chat_template.jinja")); err != nil {
		t.Fatal(err)
	}
	got = shown(own)
	for _, want := range []string{"supported: no: ", "ForNothing", "licence: apache-2.0\n", "chat template: none"} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
}
