package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// sums are the SHA-256 of the files of a folder but for records of stages and the lock.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		if err != nil || d.IsDir() || strings.HasPrefix(rel, ".") || strings.HasPrefix(rel, "stages") {
			return err
		}
		out[rel], err = storage.SHA256File(p)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFinishedRunIsMended: what is missing or damaged of a finished run is made again with the same bytes, or named with what to do.
func TestFinishedRunIsMended(t *testing.T) {
	b := &desk{t, t.TempDir()}
	corpus := b.corpus(40, "{\"text\": 3}\n")
	out := b.path("out")
	again := func() (int, string) {
		args := append([]string{"run", "domain-adaptation", "--output", out},
			set("input="+corpus, "sequence_length=64", "export.merged=true")...)
		code, _, stderr := ended(t, adaptflow(append(args, "--set", "eval_input="+corpus)...))
		return code, stderr
	}
	if code, stderr := again(); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	want := sums(t, out)
	one := func(pattern string) string {
		files, err := filepath.Glob(filepath.Join(out, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s", pattern)
		}
		return files[0]
	}
	flip := func(path string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(){
		"adapter":                   func() { os.RemoveAll(one("adapter")) },
		"adapter/adapter_model":     func() { os.Remove(one("adapter/adapter_model.safetensors")) },
		"adapter/adapter_config":    func() { os.Remove(one("adapter/adapter_config.json")) },
		"adapter, damaged":          func() { flip(one("adapter/adapter_model.safetensors")) },
		"shards":                    func() { os.RemoveAll(one("shards")) },
		"shards/train":              func() { os.Remove(one("shards/train-*.parquet")) },
		"shards, damaged":           func() { flip(one("shards/train-*.parquet")) },
		"eval":                      func() { os.RemoveAll(one("eval")) },
		"report.html":               func() { os.Remove(one("report.html")) },
		"report.html, damaged":      func() { flip(one("report.html")) },
		"events":                    func() { os.Remove(one("events.out*")) },
		"merged":                    func() { os.RemoveAll(one("merged")) },
		"rejects":                   func() { os.RemoveAll(one("rejects")) },
		"recipe":                    func() { os.Remove(one("recipe.resolved.yaml")) },
		"adapter, shards and pages": func() { os.RemoveAll(one("adapter")); os.RemoveAll(one("shards")); os.Remove(one("report.html")) },
	} {
		spoil()
		code, stderr := again()
		if part, _, _ := strings.Cut(name, ","); code != 0 || name != "recipe" && !strings.Contains(stderr, strings.Split(part, "/")[0]) ||
			name != "recipe" && !strings.Contains(stderr, "made again") {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
		if code, stderr := again(); code != 0 || strings.Contains(stderr, "made again") {
			t.Errorf("%s, once more: exit code %d: %s", name, code, stderr)
		}
		got := sums(t, out)
		for f, sum := range want {
			if got[f] != sum && (got[f] == "" || !strings.HasPrefix(f, "events.")) { // events have the time
				t.Errorf("%s: %s is not as it was (%.8s, was %.8s)", name, f, got[f], sum)
			}
		}
	}
	flip(filepath.Join(out, "metrics.json"))
	os.WriteFile(filepath.Join(out, "metrics.json"), []byte("{"), 0o666)
	if code, stderr := again(); code != 0 || !strings.Contains(stderr, "made again") {
		t.Errorf("metrics: exit code %d: %s", code, stderr)
	}
	// What cannot be made again is named with what to do.
	os.RemoveAll(filepath.Join(out, "checkpoints"))
	if code, stderr := again(); code != 0 || !strings.Contains(stderr, "checkpoints is gone") {
		t.Errorf("checkpoints: exit code %d: %s", code, stderr)
	}
	os.RemoveAll(filepath.Join(out, "adapter"))
	if code, stderr := again(); code != 1 || !strings.Contains(errorLine(t, stderr),
		"adapter of the finished run cannot be made again without its checkpoints") ||
		!strings.Contains(stderr, "delete "+filepath.Join(out, "metrics.json")) {
		t.Errorf("without checkpoints: exit code %d: %s", code, stderr)
	}
	os.WriteFile(corpus, []byte("{\"text\": \"another document altogether\"}\n"), 0o666)
	os.RemoveAll(filepath.Join(out, "shards"))
	if code, stderr := again(); code != 1 || !strings.Contains(errorLine(t, stderr), "the input has changed since") {
		t.Errorf("another input: exit code %d: %s", code, stderr)
	}
}
