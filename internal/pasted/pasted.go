// Package pasted builds the examples of CONTRIBUTING.md as they stand there, for tests: what the document says of a new row of a table is
// true as long as its example compiles and passes the tests of its package.
package pasted

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Example is a section's example: a file, and the lines that it needs elsewhere.
type Example struct {
	Heading string // of the section, without its ##
	File    string // what the section's first Go block is, by its path in the module
	Header  string // what the block lacks before it, such as its package clause and imports; "" for nothing
	Lines   []Line
	Data    string // what the section's first JSON block is, by its path in the module; "" for none
	// Folders are folders of testdata, by their path in the module, whose files the tests find in the folder named beside them, too.
	Folders map[string]string
	Package string   // whose tests it passes, by its folder
	Run     string   // those tests, as go test takes them; "" for all
	Says    []string // what stands in their output
}

// Line is a line that the section names (indented as it may be), put behind another one in a file; where it is "", the section's second Go
// block is.
type Line struct{ File, After, Line string }

// Test pastes an example into the module, without writing to it, and runs the tests. It is called by a test in a folder of the module.
func Test(t *testing.T, e Example) {
	t.Helper()
	if testing.Short() {
		t.Skip("it compiles a package anew")
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !fileExists(filepath.Join(root, "go.mod")) {
		if root == filepath.Dir(root) {
			t.Fatal("the test does not run in a folder of the module")
		}
		root = filepath.Dir(root)
	}
	raw, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	section, code := example(string(raw), e.Heading)
	if code == "" {
		t.Fatalf("CONTRIBUTING.md has no Go example under %q", e.Heading)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "pasted.test")
	cmd := exec.Command("go", "test", "-c", "-o", binary, "-overlay", overlay(t, root, dir, section, code, e), "./"+e.Package)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("with CONTRIBUTING.md's example pasted: %v\n%s", err, out)
	}
	tree := filepath.Join(dir, "module")
	mirror(t, root, tree)
	for from, to := range e.Folders {
		mirror(t, filepath.Join(root, from), filepath.Join(tree, to))
	}
	if e.Data != "" {
		data := block(section, "json")
		if data == "" {
			t.Fatalf("CONTRIBUTING.md has no JSON example under %q", e.Heading)
		}
		if err := os.WriteFile(filepath.Join(tree, e.Data), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd = exec.Command(binary, "-test.short", "-test.v", "-test.run", e.Run)
	cmd.Dir = filepath.Join(tree, e.Package)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("with CONTRIBUTING.md's example pasted: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS") {
		t.Errorf("no test ran: %s", out)
	}
	for _, s := range e.Says {
		if !strings.Contains(string(out), s) {
			t.Errorf("the tests do not say %q:\n%s", s, out)
		}
	}
}

// overlay writes the example's file, and the files that it changes by a line, beside the module, and tells the compiler of them.
func overlay(t *testing.T, root, dir, section, code string, e Example) string {
	t.Helper()
	texts := map[string]string{e.File: e.Header + code}
	for _, l := range e.Lines {
		if l.Line == "" {
			_, rest, _ := strings.Cut(section, code)
			if l.Line = strings.TrimSuffix(block(rest, "go"), "\n"); l.Line == "" {
				t.Fatalf("the section %q has no second Go block", e.Heading)
			}
		}
		if !strings.Contains(section, strings.TrimSpace(l.Line)) {
			t.Errorf("the section %q does not say %q", e.Heading, strings.TrimSpace(l.Line))
		}
		if texts[l.File] == "" {
			raw, err := os.ReadFile(filepath.Join(root, l.File))
			if err != nil {
				t.Fatal(err)
			}
			texts[l.File] = string(raw)
		}
		before, after, ok := strings.Cut(texts[l.File], l.After+"\n")
		if !ok {
			t.Fatalf("%s has no line %q", l.File, l.After)
		}
		texts[l.File] = before + l.After + "\n" + l.Line + "\n" + after
	}
	replace := map[string]string{}
	for file, text := range texts {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = path
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mirror makes a folder of which every file is a link to one of from, so that tests find more there than from has. What is linked there
// already is linked anew.
func mirror(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		switch {
		case d.Name() == ".git":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(at, 0o700)
		}
		if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(path, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// example is the section of a heading, and its first Go block; "" where there is none.
func example(doc, heading string) (section, code string) {
	_, section, ok := strings.Cut(doc, "\n## "+heading+"\n")
	if !ok {
		return "", ""
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section, block(section, "go")
}

// block is a section's first block of a language, "" where there is none.
func block(section, language string) string {
	_, block, ok := strings.Cut(section, "\n```"+language+"\n")
	if !ok {
		return ""
	}
	block, _, _ = strings.Cut(block, "\n```")
	return block + "\n"
}
