package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
)

// TestGGUF: a GGUF file is known by its first bytes, whatever its name, and its types are counted; long values are cut.
func TestGGUF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some.bin")
	var meta gguf.Meta
	meta.Set("general.architecture", "llama")
	meta.Set("tokenizer.ggml.token_type", make([]int32, 500))
	meta.Set("tokenizer.chat_template", strings.Repeat("x", 500))
	if err := gguf.Write(path, meta, []gguf.Tensor{gguf.Values("a.weight", ggml.Q8_0, make([]float32, 128), 2, 64),
		gguf.Values("b.weight", ggml.F32, make([]float32, 5), 5)}); err != nil {
		t.Fatal(err)
	}
	facts, err := Path(path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range facts {
		got[f.Name] = fmt.Sprint(f.Value)
		if len(got[f.Name]) > 400 {
			t.Errorf("%s has %d bytes", f.Name, len(got[f.Name]))
		}
	}
	for name, want := range map[string]string{"version": "3", "tensors": "2", "parameters": "133",
		"stored as Q8_0": "1 tensors, 128 values", "general.architecture": `"llama"`, "a.weight": "Q8_0 [2 64]", "tokenizer.ggml.token_type": "500 values: [0 0 0 0 0 0 0 0]"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

// TestTexts: the first texts of a file, and none is an error.
func TestTexts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	for content, want := range map[string]int{`{"text": "one"}` + "\n" + `{"text": "two"}` + "\n" + `{"text": "three"}` + "\n": 2,
		`{"text": "one"}` + "\n": 1, "{}\n": 0} {
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		texts, err := Texts(path, 2)
		if len(texts) != want || (err == nil) != (want > 0) || want > 0 && texts[0] != "one" {
			t.Errorf("%q: %q, %v", content, texts, err)
		}
	}
}
