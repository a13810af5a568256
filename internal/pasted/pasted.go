// Package pasted builds the examples of CONTRIBUTING.md as they stand there, for tests: what the document says of a new row of a table is
// true as long as its example compiles and passes the tests of its package.
package pasted

import (
	"encoding/json"
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
	Data    string // what the section's first JSON block is, by its path in the module, for tests that find it by [Data]; "" for none
	Package string // whose tests it passes, by its folder
	Run     string // those tests, as go test takes them; "" for all
}

// Line is a line that the section names (indented as it may be), put behind another one in a file.
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
	texts := map[string]string{e.File: e.Header + code}
	for _, l := range e.Lines {
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
	dir := t.TempDir()
	replace := map[string]string{}
	for file, text := range texts {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	if e.Data != "" {
		data := block(section, "json")
		if data == "" {
			t.Fatalf("CONTRIBUTING.md has no JSON example under %q", e.Heading)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(e.Data)), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, dataFolder+"="+dir)
	}
	cmd := exec.Command("go", "test", "-short", "-overlay", path, "-run", e.Run, "./"+e.Package)
	cmd.Dir, cmd.Env = root, env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("with CONTRIBUTING.md's example pasted: %v\n%s", err, out)
	}
}

// dataFolder names, in the environment of tests that an example is pasted for, the folder of its data.
const dataFolder = "ADAPTFLOW_PASTED"

// Data is the path of a test's data: of the example's that is pasted, where it has the name, else path itself.
func Data(path string) string {
	if dir := os.Getenv(dataFolder); dir != "" {
		if p := filepath.Join(dir, filepath.Base(path)); fileExists(p) {
			return p
		}
	}
	return path
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
