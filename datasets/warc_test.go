package datasets

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// warcOf writes a record of a web archive.
func warcOf(kind, media, url, block string) string {
	return fmt.Sprintf("WARC/1.0\r\nWARC-Type: %s\r\nWARC-Target-URI: <%s>\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n",
		kind, url, media, len(block), block)
}

func response(status, headers, body string) string {
	return "HTTP/1.1 " + status + " X\r\n" + headers + "\r\n\r\n" + body
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

const httpMedia = "application/http; msgtype=response"

var crawl = []string{
	warcOf("warcinfo", "application/warc-fields", "", "software: test\r\n"),
	warcOf("request", "application/http; msgtype=request", "http://a/1", "GET / HTTP/1.1\r\n\r\n"),
	warcOf("response", httpMedia, "http://a/1", response("200", "Content-Type: text/html; charset=utf-8", "<html>one</html>")),
	warcOf("response", httpMedia, "http://a/2", response("404", "Content-Type: text/html", "<html>none</html>")),
	warcOf("response", httpMedia, "http://a/3", response("200", "Content-Type: image/png", "\x89PNG")),
	warcOf("response", httpMedia, "http://a/4", response("200", "Content-Type: text/plain\r\nTransfer-Encoding: chunked",
		"3\r\ntwo\r\n4;x=y\r\n and\r\n0\r\n\r\n")),
	warcOf("response", httpMedia, "http://a/5", response("200", "Content-Type: text/html\r\nContent-Encoding: gzip",
		zipped("<html>three</html>"))),
	warcOf("response", httpMedia, "http://a/6", response("200", "Content-Type: text/html\r\nContent-Encoding: gzip", "<html>four</html>")),
	warcOf("conversion", "text/plain", "http://a/7", "five\nlines"),
	warcOf("resource", "text/html", "file:///x", "<html>six</html>"),
}

// readWARC are the documents of an archive as "index url text", and its rejections as "reason value".
func readWARC(t *testing.T, content string) (docs, rejects []string, r Reader) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crawl.warc")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, "crawl", Options{Pages: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for {
		rec, rej, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return docs, rejects, r
		case err != nil:
			t.Fatal(err)
		case rej != nil:
			rejects = append(rejects, rej.Reason+" "+rej.Value)
		default:
			docs = append(docs, fmt.Sprintf("%d %s %s", rec.Index, rec.URL, rec.Text))
		}
	}
}

// TestWARC: the pages of an archive are documents, decoded, whether its records are plain or each compressed.
func TestWARC(t *testing.T) {
	want := []string{"2 http://a/1 <html>one</html>", "5 http://a/4 two and", "6 http://a/5 <html>three</html>",
		"7 http://a/6 <html>four</html>", "8 http://a/7 five\nlines", "9 file:///x <html>six</html>"}
	var members string
	for _, r := range crawl {
		members += zipped(r)
	}
	for name, content := range map[string]string{"plain": strings.Join(crawl, ""), "gz": members, "whole": zipped(strings.Join(crawl, "")),
		"newlines": strings.TrimRight(strings.Join(crawl, ""), "\r\n")} {
		docs, rejects, r := readWARC(t, content)
		if strings.Join(docs, "|") != strings.Join(want, "|") || rejects != nil {
			t.Errorf("%s: %q, rejected %q", name, docs, rejects)
		}
		if format, _ := r.Layout(); format != "warc" || r.Tally().Notes[NoteNotPages] != 2 {
			t.Errorf("%s: %s, %v", name, format, r.Tally())
		}
	}
}

// TestWARCLies: an archive that is cut, and one whose lengths are wrong, gives what stands before the damage, and a rejection with the
// record and its offset.
func TestWARCLies(t *testing.T) {
	whole := crawl[2] + crawl[8]
	for name, c := range map[string]struct {
		content string
		docs    int
		want    string
	}{
		"cut in a block": {whole[:len(whole)-8], 1,
			fmt.Sprintf("truncated_file record 1 at byte %d: the file ends inside it", len(crawl[2]))},
		"cut in a header": {whole[:len(crawl[2])+30], 1, fmt.Sprintf("truncated_file record 1 at byte %d", len(crawl[2]))},
		"cut in gz":       {zipped(whole)[:len(zipped(whole))-20], 1, "truncated_file record 1 at byte"},
		"cut inside gz":   {zipped(whole[:len(whole)-8]), 1, "truncated_file record 1 at byte"},
		"a short length":  {strings.Replace(whole, "Content-Length: 10", "Content-Length: 7", 1), 1, "corrupt_file record 1 at byte"},
		"a long length": {strings.Replace(whole, "Content-Length: 74", "Content-Length: 75", 1), 0,
			"corrupt_file record 0 at byte 0: its Content-Length ends"},
		"no length":        {crawl[2] + "WARC/1.0\r\nWARC-Type: response\r\n\r\n", 1, `its Content-Length is ""`},
		"a negative one":   {crawl[2] + "WARC/1.0\r\nContent-Length: -5\r\n\r\n", 1, `its Content-Length is "-5"`},
		"a huge one":       {crawl[2] + "WARC/1.0\r\nContent-Length: 9223372036854775807\r\n\r\nx", 1, "truncated_file record 1"},
		"no record":        {crawl[2] + "hello\r\n", 1, `it begins with "hello"`},
		"a header's chaos": {crawl[2] + "WARC/1.0\r\nno colon\r\n\r\n", 1, "has no colon"},
		"chunks that lie": {warcOf("response", httpMedia, "http://a/4", response("200",
			"Content-Type: text/plain\r\nTransfer-Encoding: chunked", "ff\r\ntwo")) + crawl[8], 1,
			"record 0, http://a/4: its chunks are damaged"},
	} {
		docs, rejects, _ := readWARC(t, c.content)
		if len(docs) != c.docs || len(rejects) != 1 || !strings.Contains(rejects[0], c.want) {
			t.Errorf("%s: %d documents, rejected %q, want %q", name, len(docs), rejects, c.want)
		}
	}
	if !strings.Contains(crawl[2], "Content-Length: 74") || !strings.Contains(crawl[8], "Content-Length: 10") {
		t.Error("the lengths that are changed are not there")
	}
}

// FuzzWARC: whatever an archive holds, reading ends, and no document is larger than what is read.
func FuzzWARC(f *testing.F) {
	for _, r := range crawl {
		f.Add([]byte(r))
	}
	f.Add([]byte(strings.Join(crawl, "")))
	f.Add([]byte(zipped(crawl[2]) + zipped(crawl[5])))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "x.warc")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path, "x", Options{Pages: true, Format: FormatWARC, MaxRecordBytes: 1 << 16})
		if err != nil {
			return
		}
		defer r.Close()
		for n := 0; ; n++ {
			rec, _, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n > len(content)+1 || len(rec.Text) > 1<<16 {
				t.Fatalf("%d records, %d bytes", n, len(rec.Text))
			}
		}
	})
}

// TestMarkdown: a file of Markdown is a document, without its front matter, its code as it is.
func TestMarkdown(t *testing.T) {
	body := "# Title\n\nSome *text*.\n\n```go\nx := 1\n```\n"
	for name, content := range map[string]string{"none": body, "yaml": "---\ntitle: x\ntags: [a]\n---\n\n" + body,
		"toml": "+++\ntitle = 'x'\n+++\n" + body, "dots": "---\ntitle: x\n...\n" + body, "crlf": "---\r\ntitle: x\r\n---\r\n" + body} {
		path := filepath.Join(t.TempDir(), "a.md")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path, "a", Options{})
		if err != nil {
			t.Fatal(err)
		}
		rec, rej, err := r.Next()
		if err != nil || rej != nil || rec.Text != body {
			t.Errorf("%s: %q, %+v, %v", name, rec.Text, rej, err)
		}
		if format, _ := r.Layout(); format != "markdown" {
			t.Errorf("%s: %s", name, format)
		}
		if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: more than one document", name)
		}
		r.Close()
	}
	if n := frontMatter("---\n\nA rule above.\n\n---\n"); n != 0 {
		t.Errorf("a rule is front matter of %d bytes", n)
	}
}
