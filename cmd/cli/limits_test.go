//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe makes a FIFO that nobody writes to in the place of a file.
func (b *desk) pipe(path string) string {
	b.t.Helper()
	os.Remove(path)
	if err := unix.Mkfifo(path, 0o644); err != nil {
		b.t.Skip(err)
	}
	return path
}

// refused are inputs out of proportion, by the whole command line: each ends soon, in one line that has the words.
var refused = []struct {
	name  string
	args  func(b *desk) []string
	words []string
}{
	{"recipe that is a FIFO", func(b *desk) []string {
		return []string{"plan", "domain-adaptation", "--recipe", b.pipe(b.path("r.yaml"))}
	}, []string{"r.yaml", "FIFO"}},
	{"recipe that is a device", func(b *desk) []string { return []string{"plan", "domain-adaptation", "--recipe", "/dev/zero"} },
		[]string{"/dev/zero", "device"}},
	{"recipe that is nested", func(b *desk) []string {
		return []string{"plan", "domain-adaptation", "--recipe", b.file("r.yaml", "data:\n  sources: "+strings.Repeat("[", 40000))}
	}, []string{"r.yaml", "nested"}},
	{"setting that is nested", func(b *desk) []string {
		return []string{"plan", "domain-adaptation", "--set", "method.x=" + strings.Repeat("{a: ", 30000)}
	}, []string{"method.x", "nested"}},
	{"input that is a FIFO", func(b *desk) []string {
		return append([]string{"prepare", "domain-adaptation", "--output", b.path("out")}, set("input="+b.pipe(b.path("in.jsonl")))...)
	}, []string{"in.jsonl", "FIFO"}},
	{"prompts that are a FIFO", func(b *desk) []string {
		return []string{"generate", "--prompts", b.pipe(b.path("p.txt")), "--output", b.path("out.jsonl")}
	}, []string{"p.txt", "FIFO"}},
	{"ids that are a FIFO", func(b *desk) []string {
		return []string{"logits", "--input", b.pipe(b.path("ids.safetensors")), "--output", b.path("out")}
	}, []string{"ids.safetensors", "FIFO"}},
	{"tokenizer that is a FIFO", func(b *desk) []string {
		return []string{"generate", "--prompt", "x", "--model", b.model(func(dir string) { b.pipe(filepath.Join(dir, "tokenizer.json")) })}
	}, []string{"tokenizer.json", "FIFO"}},
	{"weights that are a FIFO", func(b *desk) []string {
		return []string{"generate", "--prompt", "x", "--model",
			b.model(func(dir string) { b.pipe(filepath.Join(dir, "model.safetensors")) })}
	}, []string{"model.safetensors", "FIFO"}},
	{"config.json of a terabyte", func(b *desk) []string {
		return []string{"inspect", b.model(func(dir string) {
			if err := os.Truncate(filepath.Join(dir, "config.json"), 1<<40); err != nil {
				b.t.Skip(err)
			}
		})}
	}, []string{"config.json", "1024.0 GiB"}},
	{"token that the model has no row for", func(b *desk) []string {
		return []string{"generate", "--prompt", "x <|more|>", "--model", b.model(func(dir string) {
			b.rewrite(filepath.Join(dir, "tokenizer.json"), func(x []byte) []byte {
				var v map[string]any
				if err := json.Unmarshal(x, &v); err != nil {
					b.t.Fatal(err)
				}
				v["added_tokens"] = append(v["added_tokens"].([]any),
					map[string]any{"id": 9000, "content": "<|more|>", "single_word": false, "lstrip": false,
						"rstrip": false, "normalized": false, "special": true})
				out, _ := json.Marshal(v)
				return out
			})
		})}
	}, []string{"9000", "vocabulary is 4096"}},
	{"layers that there are not", func(b *desk) []string {
		return []string{"generate", "--prompt", "x", "--model", b.model(func(dir string) {
			b.rewrite(filepath.Join(dir, "config.json"), replace(`"num_hidden_layers": 6`, `"num_hidden_layers": 200000000`))
		})}
	}, []string{"num_hidden_layers is 200000000"}},
	{"a million sequences", func(b *desk) []string {
		return append([]string{"run", "domain-adaptation", "--output", b.path("out")}, set("input="+b.corpus(20), "batch_size=1000000")...)
	}, []string{"per_device_train_batch_size is 1000000", "this machine has"}},
	{"a batch near 2^63", func(b *desk) []string {
		return append([]string{"plan", "domain-adaptation"}, set("batch_size=9223372036854775807")...)
	}, []string{"at most 1048576"}},
	{"a rank near 2^63", func(b *desk) []string {
		return append([]string{"plan", "domain-adaptation"}, set("rank=9223372036854775807")...)
	}, []string{"r = ", "out of proportion"}},
}

func TestOutOfProportion(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			b := &desk{t, t.TempDir()}
			cmd := adaptflow(c.args(b)...)
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			context.AfterFunc(ctx, func() {
				if cmd.Process != nil {
					cmd.Process.Kill()
				}
			})
			code, _, stderr := ended(t, cmd)
			if code != 1 && code != 2 {
				t.Fatalf("exit code %d: %.300s", code, stderr)
			}
			line := errorLine(t, stderr)
			for _, word := range c.words {
				if !strings.Contains(line, word) {
					t.Errorf("the line does not name %q: %.400s", word, line)
				}
			}
		})
	}
}
