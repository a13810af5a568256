package tokenize

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/golden"
)

// ofGGUF is the tokenizer of a GGUF file.
func ofGGUF(t *testing.T, path string) *Fast {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files, err := GGUFFiles(f.Meta)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := Parse(files["tokenizer.json"])
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// TestGGUFTokenizers: ids of the tokenizers of GGUF files are llama.cpp's. The folder is made by interop/gguf_tokenizers.py.
func TestGGUFTokenizers(t *testing.T) {
	dir := os.Getenv("ADAPTFLOW_GGUF_TOKENIZERS")
	if dir == "" {
		t.Skip("ADAPTFLOW_GGUF_TOKENIZERS names no folder")
	}
	paths, _ := filepath.Glob(filepath.Join(golden.Resolve(t, dir), "*.gguf"))
	if len(paths) == 0 {
		t.Fatalf("%s has no GGUF files", dir)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			tk := ofGGUF(t, path)
			f, err := os.Open(strings.TrimSuffix(path, ".gguf") + ".jsonl")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n, wrong := 0, 0
			s := bufio.NewScanner(f)
			s.Buffer(nil, 64<<20)
			for s.Scan() {
				var c struct {
					ID, Text string
					IDs      []int32
				}
				if err := json.Unmarshal(s.Bytes(), &c); err != nil {
					t.Fatal(err)
				}
				got, err := tk.AppendIDs(nil, c.Text, false)
				if err != nil {
					t.Fatal(err)
				}
				if n++; !slices.Equal(got, c.IDs) {
					if wrong++; wrong <= 3 {
						at := 0
						for at < min(len(got), len(c.IDs)) && got[at] == c.IDs[at] {
							at++
						}
						t.Errorf("%s from token %d on: %v, want %v", c.ID, at, got[at:min(at+8, len(got))], c.IDs[at:min(at+8, len(c.IDs))])
					}
				}
			}
			t.Logf("%d of %d cases have llama.cpp's ids", n-wrong, n)
		})
	}
}
