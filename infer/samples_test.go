package infer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

// TestSamples draws samples of prompts into a file: the same bytes again, each sample its own, and no file where it is interrupted.
func TestSamples(t *testing.T) {
	m := embedded(t)
	dir := t.TempDir()
	prompts := []string{"The city\n\nThe city was", ""}
	s := evaluate.Sampling{DoSample: true, Temperature: 1, MaxNewTokens: 9, Seed: 5}
	var files [][]byte
	for _, name := range []string{"a.jsonl", "b.jsonl"} {
		last, of := 0, 0
		told := func(d, o int) { last, of = d, o }
		if _, err := m.Samples(context.Background(), prompts, 3, s, filepath.Join(dir, name), told); err != nil {
			t.Fatal(err)
		}
		if last != 6 || of != 6 {
			t.Errorf("%d of %d samples were reported", last, of)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("the same seed gives\n%s\n%s", files[0], files[1])
	}
	lines := strings.Split(strings.TrimSpace(string(files[0])), "\n")
	seen := map[string]bool{}
	for i, line := range lines {
		var row map[string]string
		if err := json.Unmarshal([]byte(line), &row); err != nil || !strings.HasPrefix(row["text"], prompts[i/3]) || len(row) != 1 {
			t.Errorf("line %d: %s, %v", i, line, err)
		}
		seen[line] = true
	}
	if len(lines) != 6 || len(seen) != 6 {
		t.Errorf("%d lines, %d of them different, want 6", len(lines), len(seen))
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Samples(ctx, prompts, 1, s, filepath.Join(dir, "c.jsonl"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("an interrupted run leaves %v", files)
	}
}

// TestReadPrompts reads lines of text and of JSONL, and says which line is wrong.
func TestReadPrompts(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, text, want string }{
		{"a.txt", "one\r\n\n two {\n", "one| two {"},
		{"a.jsonl", `{"prompt": "one\n\ntwo"}` + "\n" + `{"prompt": "", "id": 3}` + "\n", "one\n\ntwo|"},
		{"b.jsonl", `{"prompt": "one"}` + "\n" + `{"text": "two"}`, `error: line 2 has no field "prompt"`},
		{"c.jsonl", `{"prompt": "one"`, "error: line 1"},
		{"d.txt", " \n\n", "error: holds no prompt"},
		{"e.docx", "PK\x03\x04", "error: is DOCX (Word)"},
		{"f.txt", "%PDF-1.7\nx", "error: is PDF"},
		{"g.txt", "<!doctype html>\n<p>x", "error: is HTML"},
		{"h.txt", "one\nna\xefve", "error: line 2 is not valid UTF-8"},
		{"i.jsonl", "{\"prompt\": \"na\xefve\"}", "error: line 1 is not valid UTF-8"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPrompts(path)
		if want, bad := strings.CutPrefix(c.want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s: %v, want %q", c.name, err, want)
			}
			continue
		}
		if err != nil || strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}
