package datasets

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func zipFile(t *testing.T, names ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range names {
		name, content, _ := strings.Cut(n, "=")
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(content))
	}
	w.Close()
	return b.String()
}

// TestForeignFormats: a file that is not text is refused by the name of its format, by its content whatever it is called, by its name, and
// within a compression; format overrides it.
func TestForeignFormats(t *testing.T) {
	var tarred bytes.Buffer
	w := tar.NewWriter(&tarred)
	w.WriteHeader(&tar.Header{Name: "a.txt", Mode: 0o644, Size: 5, Format: tar.FormatUSTAR})
	w.Write([]byte("text\n"))
	w.Close()
	random := make([]byte, 4096)
	for i := range random {
		random[i] = byte(i * i >> 3)
	}
	page := "<!DOCTYPE html>\n<html><body><p>Text.</p></body></html>\n"
	for _, c := range []struct{ format, name, content, advice string }{
		{"PDF", "pdf", "%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "pdftotext"},
		{"PDF", "", "\n\n%PDF-1.7\n1 0 obj\n", "pdftotext"},
		{"PDF", "", "Content-Type: application/pdf\n\n%PDF-1.4\r\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "pdftotext"},
		{"WARC", "", "\r\n\r\nWARC/1.0\r\nWARC-Type: warcinfo\r\n", "JSONL"},
		{"RTF", "", "\xef\xbb\xbf{\\rtf1\\ansi text}", "pandoc"},
		{"HTML", "", "\xef\xbb\xbf" + page, "clean=html_text"},
		{"DOCX", "docx", zipFile(t, "[Content_Types].xml=<Types/>", "_rels/.rels=x", "word/document.xml=<w:document/>"), "pandoc"},
		{"XLSX", "xlsx", zipFile(t, "[Content_Types].xml=<Types/>", "xl/workbook.xml=x"), "CSV"},
		{"PPTX", "pptx", zipFile(t, "[Content_Types].xml=<Types/>", "ppt/presentation.xml=x"), "extract"},
		{"OpenDocument", "odt", zipFile(t, "mimetype=application/vnd.oasis.opendocument.text", "content.xml=x"), "pandoc"},
		{"EPUB", "epub", zipFile(t, "mimetype=application/epub+zip", "META-INF/container.xml=x"), "pandoc"},
		{"ZIP", "zip", zipFile(t, "a.txt=text"), "unpack"},
		{"tar", "tar", tarred.String(), "unpack"},
		{"7z", "7z", "7z\xbc\xaf\x27\x1c\x00\x04", "unpack"},
		{"xz", "xz", "\xfd7zXZ\x00\x00\x04", "gz"},
		{"WARC", "warc", "WARC/1.0\r\nWARC-Type: warcinfo\r\n", "JSONL"},
		{"HTML", "html", page, "clean=html_text"},
		{"HTML", "htm", "\n <!-- x -->\n<HTML lang=en><head>", "clean=html_text"},
		{"RTF", "rtf", "{\\rtf1\\ansi text}", "pandoc"},
		{"XML", "xml", "<?xml version=\"1.0\"?><a>text</a>", "JSONL"},
		{"image", "png", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "leave"},
		{"image", "jpg", "\xff\xd8\xff\xe0\x00\x10JFIF", "leave"},
		{"image", "bmp", "BM\x36\x00\x0c\x00\x00\x00\x00\x00\x36\x00", "leave"},
		{"sound", "mp3", "ID3\x04\x00\x00\x00\x00", "transcribe"},
		{"sound", "mp4", "\x00\x00\x00\x18ftypmp42", "transcribe"},
		{"pickle", "pkl", "\x80\x04\x95\x10\x00\x00\x00", "JSONL"},
		{"NumPy", "npy", "\x93NUMPY\x01\x00", "JSONL"},
		{"SQLite", "db", "SQLite format 3\x00\x10\x00", "Parquet"},
		{"program", "so", "\x7fELF\x02\x01\x01\x00", "leave"},
		{"program", "exe", "MZ\x90\x00\x03\x00\x00\x00", "leave"},
		{"HDF5", "h5", "\x89HDF\r\n\x1a\n\x00", "Parquet"},
		{"Arrow", "arrow", "ARROW1\x00\x00", "Parquet"},
		{"Avro", "avro", "Obj\x01\x04\x14avro.codec", "Parquet"},
		{"weights", "safetensors", "\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}", "leave"},
		{"weights", "gguf", "GGUF\x03\x00\x00\x00", "leave"},
		{"Office", "doc", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "LibreOffice"},
		{"binary data", "", string(random), "JSONL"},
	} {
		var gz, zst bytes.Buffer
		g := gzip.NewWriter(&gz)
		g.Write([]byte(c.content))
		g.Close()
		z, err := zstd.NewWriter(&zst)
		if err != nil {
			t.Fatal(err)
		}
		z.Write([]byte(c.content))
		z.Close()
		files := map[string]string{"a.txt": c.content, "a": c.content, "a.jsonl": c.content, "b.txt.gz": gz.String(), "b.zst": zst.String()}
		if c.name != "" {
			files["c."+c.name], files["d."+strings.ToUpper(c.name)], files["e."+c.name+".gz"] = c.content, "named so\n", gz.String()
		}
		for name, content := range files {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := Open(path, name, Options{})
			var fe *FormatError
			if !errors.As(err, &fe) || !strings.Contains(fe.Format, c.format) || !strings.Contains(err.Error(), c.advice) ||
				!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %s", name, err, c.format)
			}
			if err == nil {
				r.Close()
			}
			if r, err = Open(path, name, Options{Format: FormatText}); err != nil {
				t.Errorf("%s as text: %v", name, err)
			} else {
				r.Close()
			}
		}
	}
	for name, content := range map[string]string{"a.html": page, "a.txt": page, "b.html": string(encodeAs(&encodings[2], page, true)),
		"c.txt": "\ufeff" + page} {
		recs, _, layout := readContent(t, name, content, Options{Pages: true})
		if len(recs) != 1 || recs[0].Text != page || !strings.HasPrefix(layout, "html") {
			t.Errorf("a page: %+v %s", recs, layout)
		}
	}
}

// TestTextIsNoForeignFormat: texts that begin like a magic are read.
func TestTextIsNoForeignFormat(t *testing.T) {
	for name, content := range map[string]string{
		"a.txt": "BMW is a maker of cars.\nMZ was one of motorcycles.\n", "b.txt": "ORC is a format.\n",
		"c.txt": "the ftyp box of a file\n", "d.md": "<p align=center>\n# A title\n",
		"e": "PK is a short name\n", "f.txt": "Rar!\n", "g.txt": "ID3 tags\n", "h.txt": "RIFF and WAVE\n",
		"i.txt": strings.Repeat("x", 257) + "ustar\n", "j.txt": "<head of> the line\n",
		"k.py": "print('x')\n", "l.ts": "let x = 1\n", "m.log": "a\x00b is a line with a NUL\n",
		"n.txt": "\xcd\xe5\xf2 is not UTF-8\nx\n", "o.txt": "",
	} {
		if recs, _, _ := readContent(t, name, content, Options{}); len(recs) == 0 && content != "" {
			t.Errorf("%s: %q is not read", name, content)
		}
	}
}
