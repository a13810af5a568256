package prepare

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
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
		"crawl.arc": "filedesc://x 0.0.0.0\n"} {
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

// TestPages: a page is one document, its text without what stands around it, by the settings of the rule html_text where it is named.
func TestPages(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"rule":   func(c *Config) { c.Clean = []map[string]any{step("html_text"), step("length", "min_chars", 5)} },
		"auto":   func(c *Config) {},
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

// TestCrawl: the pages of a web archive are documents of their text, in whatever encoding they were sent; what is cut is a dead letter with
// its place.
func TestCrawl(t *testing.T) {
	record := func(url, media, body string) string {
		block := "HTTP/1.1 200 OK\r\nContent-Type: " + media + "\r\n\r\n" + body
		return fmt.Sprintf("WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: %s\r\nContent-Type: application/http\r\n"+
			"Content-Length: %d\r\n\r\n%s\r\n\r\n", url, len(block), block)
	}
	in := t.TempDir()
	crawl := record("http://a", "text/html; charset=utf-8", page) +
		record("http://b", "text/html; charset=iso-8859-1", strings.ReplaceAll(page, "More of it.", "Caf\xe9 cr\xe8me.")) +
		record("http://c", "text/html", page)
	write(t, filepath.Join(in, "crawl.warc"), crawl[:len(crawl)-40])
	cfg := config(t, byteTokenizer(t), in)
	cfg.ValidationFraction, cfg.SequenceLength, cfg.MaxBadFraction = 0, 256, 1
	res := execute(t, cfg)
	all := ""
	for _, s := range sequences(t, res.Train) {
		text, _ := shown(s)
		all += text
	}
	if res.Kept != 2 || res.Rejected["truncated_file"] != 1 || strings.Count(all, "A text of a page.") != 2 ||
		!strings.Contains(all, "Caf\u00c3\u00a9 cr\u00c3\u00a8me.") || strings.Contains(all, "var x") {
		t.Errorf("%+v: %q", res, all)
	}
	if got := strings.Join(res.Layouts, " "); got != "1 files of warc" && !strings.Contains(got, "warc") {
		t.Errorf("layouts %s", got)
	}
}
