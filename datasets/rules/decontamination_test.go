package rules

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestDecontaminationTasks: the files of the evaluation sets are read in the encodings and compressions that input is; other formats are
// named.
func TestDecontaminationTasks(t *testing.T) {
	const row = `{"q": "a question of ä", "a": "an answer"}` + "\n"
	wide, err := binary.Append([]byte("\xff\xfe"), binary.LittleEndian, utf16.Encode([]rune(row)))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(wide)
	_ = z.Close()
	read := func(name, content string) (*Decontamination, error) {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		c := NewDecontamination()
		c.Tasks = []DecontaminationTask{{Path: path, Query: "q", Label: "a"}}
		return c, c.Prepare()
	}
	for name, content := range map[string]string{"plain.jsonl": row, "marked.jsonl": "\ufeff" + row, "utf16.jsonl": string(wide),
		"utf16.jsonl.gz": zipped.String(), "end.jsonl": strings.TrimSpace(row)} {
		c, err := read(name, content)
		if err != nil || len(c.pairs) != 1 || c.pairs[0].query != "a question of ä" || c.pairs[0].label != "an answer" {
			t.Errorf("%s: %+v, %v", name, c.pairs, err)
		}
	}
	for name, want := range map[string]string{"%PDF-1.7\n1 0 obj\n": "PDF", "PK\x03\x04\x14\x00word/document.xml": "DOCX",
		"PAR1\x00\x00\x00": "Parquet", "<!doctype html>\n<p>": "HTML",
		"\x1f\x8b\x08\x00": "corrupt", `{"q": 1, "a": "x"}`: `"q"`, "[1]\n": "line 1: it is a JSON array", "{\n": "line 1"} {
		if _, err := read("task", name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "task") ||
			strings.Contains(err.Error(), "data.format") {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}
