//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shared are the paths below a run's folder that others may read where the umask lets them: folders in the formats of models and adapters,
// and the file that names the version in use. Everything else is its owner's alone.
var shared = regexp.MustCompile(`^(adapter|merged|init|versions|versions/[0-9]+|adapters|adapters/[^./][^/]*)(/(adapter_config\.json|adapter_model\.safetensors|README\.md|config\.json|generation_config\.json|` +
	`model\.safetensors|tokenizer[^/]*\.json|special_tokens_map\.json|chat_template\.jinja|vocab\.json|merges\.txt))?$|^current$`)

// temporary are names before what they become: .NAME.tmp-1, and .NAME.tmp-1/new of folders.
var temporary = regexp.MustCompile(`(^|/)\.([^/]+)\.tmp-[0-9]+(/new|$)`)

// permissions walks a folder, which must be one that was made, and calls bad for each mode that is not the table's.
func permissions(dir string, umask fs.FileMode, bad func(path string, got, want fs.FileMode)) int {
	n := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil { // it has gone
			return nil
		}
		fi, err := d.Info()
		if err != nil || fi.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		rel = filepath.ToSlash(rel)
		if !fi.IsDir() || strings.Contains(rel, "/new") {
			rel = temporary.ReplaceAllString(rel, "$1$2")
			rel = temporary.ReplaceAllString(rel, "$1$2")
		}
		want := fs.FileMode(0o600)
		if shared.MatchString(rel) {
			want = 0o644 &^ umask
		}
		if fi.IsDir() {
			want = 0o700
			if shared.MatchString(rel) {
				want = 0o755 &^ umask
			}
		}
		if n++; fi.Mode().Perm() != want {
			bad(path, fi.Mode().Perm(), want)
		}
		return nil
	})
	return n
}

// TestModes runs the program under umasks, looks at everything that it makes while it works and when it has ended, and holds the modes to
// the table.
func TestModes(t *testing.T) {
	if testing.Short() {
		t.Skip("several runs")
	}
	corpus := func(b *desk, bad bool) string {
		var s strings.Builder
		for i := range 60 {
			fmt.Fprintf(&s, "{\"text\": \"Page %d. The call number %d opens file %d and returns descriptor %d, or an error.\", \"who\": "+
				"\"k%d\"}\n", i, i, 7*i, i%5, i%2)
		}
		if bad {
			s.WriteString("{\"nothing\": 1}\nno json\n")
		}
		return b.file("corpus.jsonl", s.String())
	}
	small := []string{"--set", "text_column=text", "--set", "sequence_length=64", "--set", "steps=4", "--set", "save_steps=2", "--set",
		"evaluate.max_new_tokens=2", "--set", "evaluate.max_sequences=2",
		"--set", "general_input=", "--set", "data.max_bad_fraction=0.5"}
	for _, c := range []struct {
		umask fs.FileMode
		args  func(b *desk) []string
		least []string // what must be among the files
	}{
		{0, func(b *desk) []string {
			return append([]string{"run", "domain-adaptation", "--set", "input=" + corpus(b, true), "--set", "eval_input=", "--set",
				"train.replicas=2", "--set", "export.merged=true",
				"--set", "model.weights=mapped", "--set", `prepare.dedupe=[exact, minhash]`, "--set", `method.init_lora_weights=eva`},
				small...)
		}, []string{"adapter/adapter_model.safetensors", "merged/model.safetensors", "init/adapter_config.json", "metrics.json",
			"report.html", "recipe.resolved.yaml", "rejects", "shards/manifest.json", "checkpoints/", "stages/after.json"}},
		{0o022, func(b *desk) []string {
			return append([]string{"run", "domain-adaptation", "--set", "input=" + corpus(b, false), "--set", "eval_input="}, small...)
		}, []string{"adapter/adapter_model.safetensors", "shards/manifest.json"}},
		{0o077, func(b *desk) []string {
			return append([]string{"run", "domain-adaptation", "--set", "input=" + corpus(b, false), "--set", "eval_input=", "--set",
				"export.merged=true"}, small...)
		}, []string{"adapter/adapter_model.safetensors", "merged/model.safetensors"}},
		{0, func(b *desk) []string {
			return append([]string{"run", "personal-assistants", "--set", "input=" + corpus(b, false), "--set", "eval_input=", "--set",
				"key_column=who", "--set", "min_sequences=1"}, small...)
		}, []string{"adapters/", "keys.json"}},
		{0, func(b *desk) []string {
			return append([]string{"run", "continual-learning", "--set", "input=" + corpus(b, false), "--set", "eval_input="},
				append(small, "--set", "general_input="+b.path("corpus.jsonl"))...)
		}, []string{"versions/", "current", "history.json", "replay/"}},
		{0, func(b *desk) []string {
			return append([]string{"run", "compare-methods", "--set", "input=" + corpus(b, false), "--set", "eval_input=", "--set",
				"methods=LORA"}, small...)
		}, []string{"adapters/", "trials/"}},
	} {
		args := c.args(&desk{t: t, dir: t.TempDir()})
		t.Run(fmt.Sprintf("%s under %03o", args[1], c.umask), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/sh", append([]string{"-c", fmt.Sprintf(`umask %03o && exec "$0" "$@"`, c.umask), os.Args[0]},
				append(args, "--output", filepath.Join(dir, "out"))...)...)
			cmd.Env = append(os.Environ(), asMain+"=1", "ADAPTFLOW_CACHE="+filepath.Join(dir, "cache"), "TMPDIR="+filepath.Join(dir, "tmp"))
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			told, seen := map[string]bool{}, 0
			look := func() {
				for _, name := range []string{"out", "cache", "tmp"} {
					seen += permissions(filepath.Join(dir, name), c.umask, func(path string, got, want fs.FileMode) {
						if rel, _ := filepath.Rel(dir, path); !told[rel] {
							told[rel] = true
							t.Errorf("%s is %03o, want %03o", rel, got, want)
						}
					})
				}
			}
			for ended := false; !ended; {
				select {
				case err := <-done:
					if err != nil {
						t.Fatalf("%v: %s", err, out.Bytes())
					}
					ended = true
				case <-time.After(5 * time.Millisecond):
				}
				look()
			}
			for _, name := range c.least {
				if _, err := os.Stat(filepath.Join(dir, "out", name)); err != nil {
					t.Error(err)
				}
			}
			if seen < 50 {
				t.Errorf("only %d paths were seen", seen)
			}
		})
	}
}
