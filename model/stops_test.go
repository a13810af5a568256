package model_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/model"
)

// TestStops takes the tokens that end a text from generation_config.json, and from config.json where it names none.
func TestStops(t *testing.T) {
	from := filepath.Join("testdata", "variants", "llama_linear") // whose config.json says 2
	for text, want := range map[string][]int32{"": {2}, `{}`: {2}, `{"eos_token_id": null}`: {2}, `{"eos_token_id": 7}`: {7},
		`{"eos_token_id": [7, 2, 9]}`: {7, 2, 9}} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "generation_config.json")
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Config.EOS, want) {
			t.Errorf("%s: a text ends at %v, want %v", text, m.Config.EOS, want)
		}
		if err := os.WriteFile(path, []byte(`{"eos_token_id": "</s>"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := model.Load(dir); err == nil || !strings.Contains(err.Error(), "generation_config.json") {
			t.Errorf("a word as eos_token_id: %v", err)
		}
	}
}
