package layers

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// markdown are the pages of the tree, but those of tests' data, with their texts.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
	list.Dir = filepath.Join("..", "..")
	names, err := list.Output()
	if err != nil {
		t.Skipf("the files of the tree are not known: %v", err)
	}
	out := map[string]string{}
	for name := range strings.FieldsSeq(string(names)) {
		if text, err := os.ReadFile(filepath.Join("..", "..", name)); err == nil && !strings.Contains(name, "testdata/") {
			out[name] = string(text)
		}
	}
	return out
}

var (
	fenced   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	inline   = regexp.MustCompile("`[^`\n]*`")
	linked   = regexp.MustCompile(`\]\(([^)\s]+)\)|(?m)^\[[^\]]+\]: (\S+)|(?:src|href)="([^"]+)"`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *#*$`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors are the names of a page's headings, as GitHub makes them.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, linkText.ReplaceAllString(m[1], "$1"))
		out = append(out, name)
	}
	return out
}

// deadLinks are the links of a page that lead to no file of the tree, or to no heading of it.
func deadLinks(name, text string) (out []string) {
	text = inline.ReplaceAllString(fenced.ReplaceAllString(text, ""), "")
	for _, m := range linked.FindAllStringSubmatch(text, -1) {
		link := m[1] + m[2] + m[3]
		u, err := url.Parse(link)
		if err != nil || u.Scheme == "data" {
			out = append(out, link)
			continue
		}
		if u.Scheme != "" {
			continue // of the web, which is not asked
		}
		to := filepath.Join("..", "..", filepath.Dir(name), u.Path)
		if u.Path == "" {
			to = filepath.Join("..", "..", name)
		}
		st, err := os.Stat(to)
		if err != nil {
			out = append(out, link)
			continue
		}
		if u.Fragment != "" && !st.IsDir() {
			page, err := os.ReadFile(to)
			if err != nil || !slices.Contains(anchors(string(page)), u.Fragment) {
				out = append(out, link)
			}
		}
	}
	return out
}

// TestLinks: every link of a page to a file or a heading leads there, and docs/README.md reaches every page of docs.
func TestLinks(t *testing.T) {
	pages := markdown(t)
	for name, text := range pages {
		for _, l := range deadLinks(name, text) {
			t.Errorf("%s: the link %s leads nowhere", name, l)
		}
	}
	reached := map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		for _, m := range linked.FindAllStringSubmatch(fenced.ReplaceAllString(pages[name], ""), -1) {
			if u, err := url.Parse(m[1] + m[2] + m[3]); err == nil && u.Scheme == "" && u.Path != "" {
				if to := filepath.ToSlash(filepath.Join(filepath.Dir(name), u.Path)); pages[to] != "" {
					walk(to)
				}
			}
		}
	}
	walk("docs/README.md")
	for name := range pages {
		if strings.HasPrefix(name, "docs/") && !reached[name] {
			t.Errorf("%s cannot be reached from docs/README.md", name)
		}
	}
}

// TestDeadLinks guards the guard.
func TestDeadLinks(t *testing.T) {
	for text, want := range map[string]int{
		"[a](links_test.go)": 0, "[a](none.md)": 1, "[a](https://example.org/x)": 0, "`[a](none.md)`": 0,
		"```\n[a](none.md)\n```": 0, "[b]: none.md": 1, `<img src="none.svg">`: 1,
	} {
		if got := deadLinks("internal/layers/x.md", text); len(got) != want {
			t.Errorf("%q: %v, want %d", text, got, want)
		}
	}
	if got := anchors("# One `two`, three\n```\n# no\n```\n## A [b](c.md) – d"); !slices.Equal(got, []string{"one-two-three", "a-b--d"}) {
		t.Errorf("anchors %q", got)
	}
}

// TestREADME: README is a page of at most 150 lines of at most 110 columns.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) > 150 {
		t.Errorf("README.md has %d lines, at most 150", len(lines))
	}
	for i, line := range lines {
		if n := utf8.RuneCount(line); n > 110 {
			t.Errorf("README.md:%d has %d columns, at most 110", i+1, n)
		}
	}
}
