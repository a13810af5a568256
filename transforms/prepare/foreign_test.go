package prepare

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

const page = "<!DOCTYPE html>\n<html><head><title>T</title><script>var x</script></head><body>\n<nav>menu</nav><p>A text of a " +
	"page.</p>\n<p>More of it.</p></body></html>\n"

// TestForeignFiles: one file that is not text ends the run before anything is written, named with what to do; format overrides it.
func TestForeignFiles(t *testing.T) {
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write([]byte("%PDF-1.4\n"))
	z.Close()
	for name, content := range map[string]string{"book.pdf": "%PDF-1.4\nx\n", "book": "%PDF-1.4\nx\n", "book.txt.gz": gz.String(),
		"page.html": page, "crawl.warc": "WARC/1.0\r\n"} {
		in := t.TempDir()
		write(t, filepath.Join(in, "a.txt"), "a good text\n")
		write(t, filepath.Join(in, name), content)
		cfg := config(t, byteTokenizer(t), in)
		_, err := Execute(t.Context(), cfg, nil)
		var fe *datasets.FormatError
		if !errors.As(err, &fe) || fe.Path != filepath.Join(in, name) || strings.Contains(err.Error(), "DoFn") {
			t.Errorf("%s: %v", name, err)
		}
		for _, dir := range []string{cfg.OutDir, cfg.RejectsDir, cfg.StagedDir} {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s: %s was written", name, dir)
			}
		}
		if err := Check(t.Context(), cfg); !errors.As(err, &fe) {
			t.Errorf("%s: checking gives %v", name, err)
		}
		cfg.Format = datasets.FormatText
		if name != "book.txt.gz" {
			execute(t, cfg)
		}
	}
}

// TestPages: with the rule html_text, or named so by the format, a page is one document, its text without what stands around it.
func TestPages(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"rule":   func(c *Config) { c.Clean = []map[string]any{step("html_text"), step("length", "min_chars", 5)} },
		"format": func(c *Config) { c.Format = datasets.FormatHTML },
		"pages":  func(c *Config) { c.HTML = step("html_text") },
	} {
		in := t.TempDir()
		write(t, filepath.Join(in, "a.html"), page)
		write(t, filepath.Join(in, "empty.html"), "<html><body></body></html>")
		cfg := config(t, byteTokenizer(t), in)
		cfg.ValidationFraction, cfg.SequenceLength = 0, 256
		set(&cfg)
		res := execute(t, cfg)
		s := sequences(t, res.Train)
		if len(s) != 1 || res.Kept != 1 || res.Rejected["html_text.no_text"] != 1 ||
			!strings.Contains(strings.Join(res.Layouts, " "), "html") {
			t.Fatalf("%s: %d sequences, %+v", name, len(s), res)
		}
		text, _ := shown(s[0])
		if !strings.Contains(text, "A text of a page.") || strings.ContainsAny(text, "<>") || strings.Contains(text, "var x") {
			t.Errorf("%s: %q", name, text)
		}
	}
}
