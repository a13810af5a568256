package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// outcome is what reading a file gave.
type outcome struct {
	recs    []Record
	rejects []*Reject
	open    error
}

func (o outcome) reasons() map[string]int {
	m := map[string]int{}
	for _, r := range o.rejects {
		m[r.Reason]++
	}
	return m
}

func readAll(t testing.TB, path string, o Options) (out outcome) {
	t.Helper()
	r, err := Open(path, filepath.Base(path), o)
	if err != nil {
		return outcome{open: err}
	}
	defer r.Close()
	last := int64(-1)
	for {
		rec, rej, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		at := rec.Index
		if rej != nil {
			out.rejects = append(out.rejects, rej)
			if at = rej.Index; rej.Source == "" || rej.Reason == "" || len(rej.Record) > MaxRejectRecord {
				t.Fatalf("%s: rejection %+v", path, rej)
			}
		} else {
			out.recs = append(out.recs, rec)
		}
		if at <= last {
			t.Fatalf("%s: index %d after %d", path, at, last)
		}
		last = at
	}
}

type dirtyCase struct {
	file    string
	o       Options
	kept    int
	reasons map[string]int
	open    string // Open fails with this in its message
	fault   string // Open fails with a FileError of this reason
	loose   bool   // kept is at most
}

var dirtyCases = []dirtyCase{
	{file: "malformed.jsonl", kept: 11, reasons: map[string]int{ReasonTruncatedRecord: 2, ReasonNotAnObject: 4,
		ReasonMissingText: 4, ReasonNullText: 2,
		ReasonTextNotAString: 2, ReasonMalformedJSON: 6, ReasonInvalidUTF8: 4, ReasonEmptyText: 2}},
	// Its koi8-r and shift_jis lines are plain ASCII.
	{file: "invalid_utf8.txt", kept: 5, reasons: map[string]int{ReasonInvalidUTF8: 7}},
	{file: "empty_lines.txt", kept: 3},
	{file: "empty_lines.txt", o: Options{TextMode: TextParagraph}, kept: 3},
	{file: "empty_lines.txt", o: Options{TextMode: TextFile}, kept: 1},
	{file: "empty.jsonl"},
	{file: "docs.jsonl.gz", kept: 40},
	{file: "docs.jsonl.bz2", kept: 40},
	{file: "docs.jsonl.zst", kept: 40},
	{file: "docs.jsonl.lz4", kept: 40},
	{file: "docs_multimember.jsonl.gz", kept: 40},
	{file: "docs_truncated.jsonl.gz", kept: 23, reasons: map[string]int{ReasonTruncatedFile: 1}},
	{file: "docs_badcrc.jsonl.gz", kept: 40, reasons: map[string]int{ReasonBadChecksum: 1}, loose: true},
	{file: "docs_trailing_garbage.jsonl.gz", kept: 40, reasons: map[string]int{ReasonTrailingGarbage: 1}},
	{file: "docs_zstd_v2.parquet", kept: 40},
	{file: "docs_gzip_plain.parquet", kept: 40},
	{file: "docs_nulls.parquet", kept: 2, reasons: map[string]int{ReasonNullText: 1, ReasonEmptyText: 1}},
	{file: "docs_binary.parquet", kept: 5},
	{file: "docs_empty.parquet"},
	{file: "docs_missing_text.parquet", open: `no column "text"`},
	{file: "chat_nested.parquet", o: Options{TextColumn: "messages"}, open: "nested"},
	{file: "chat_nested.parquet", kept: 2},
	{file: "tokens_list.parquet", open: `no column "text"`},
	{file: "docs_truncated.parquet", fault: ReasonTruncatedFile},
}

// The rest of the folder, read when ADAPTFLOW_DIRTY names it.
var dirtyMore = []dirtyCase{
	{file: "docs_is_plain.jsonl.gz", kept: 40},
	{file: "docs_snappy.parquet", kept: 40},
	{file: "docs_large_string.parquet", kept: 40},
	{file: "docs_extra_column.parquet", kept: 40},
	{file: "duplicates.jsonl", kept: 293}, {file: "boilerplate.jsonl", kept: 80}, {file: "mojibake.jsonl", kept: 60},
	{file: "languages.jsonl", kept: 215}, {file: "html.jsonl", kept: 17}, {file: "pii.jsonl", kept: 95},
	{file: "unicode.jsonl", kept: 60}, {file: "quality.jsonl", kept: 40}, {file: "contamination.jsonl", kept: 60},
	{file: "deep.jsonl", kept: 1, reasons: map[string]int{ReasonMalformedJSON: 1}},
	{file: "huge_line.txt", kept: 2},
	{file: "huge_line.txt", o: Options{MaxRecordBytes: 100_000}, kept: 1, reasons: map[string]int{ReasonRecordTooLarge: 1}},
	{file: "bomb.jsonl.gz", reasons: map[string]int{ReasonDecompressionLimit: 1}},
}

func TestDirty(t *testing.T) {
	runDirty(t, filepath.Join("testdata", "dirty"), dirtyCases)
	dir := os.Getenv("ADAPTFLOW_DIRTY")
	if dir == "" {
		return
	}
	if _, err := os.Stat(dir); err != nil && !filepath.IsAbs(dir) {
		dir = filepath.Join("..", dir)
	}
	runDirty(t, dir, append(slices.Clone(dirtyCases), dirtyMore...))
	// Whatever the file, reading it ends, and every option reads it without a panic.
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("ADAPTFLOW_DIRTY=%s: no files, %v", dir, err)
	}
	for _, f := range all {
		for _, o := range []Options{{}, {Format: FormatText}, {TextMode: TextFile, Format: FormatText},
			{TextMode: TextParagraph, Format: FormatText}, {Format: FormatJSONL}, {Format: FormatParquet}} {
			readAll(t, f, o)
		}
	}
	t.Logf("dirty: %d files, %d cases ran, none out of scope", len(all), len(dirtyCases)+len(dirtyMore))
}

func runDirty(t *testing.T, dir string, cases []dirtyCase) {
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s%v", c.file, c.o.TextMode), func(t *testing.T) {
			got := readAll(t, filepath.Join(dir, c.file), c.o)
			var fe *FileError
			switch {
			case c.fault != "":
				if !errors.As(got.open, &fe) || fe.Reason != c.fault {
					t.Fatalf("Open: %v, want a fault %s", got.open, c.fault)
				}
				return
			case c.open != "":
				if got.open == nil || !strings.Contains(got.open.Error(), c.open) || !strings.Contains(got.open.Error(), c.file) ||
					errors.As(got.open, &fe) {
					t.Fatalf("Open: %v, want %q", got.open, c.open)
				}
				return
			case got.open != nil:
				t.Fatal(got.open)
			}
			want := c.reasons
			if want == nil {
				want = map[string]int{}
			}
			if k := len(got.recs); k != c.kept && !(c.loose && k < c.kept) || !maps.Equal(got.reasons(), want) {
				t.Fatalf("kept %d, rejected %v; want %d, %v", len(got.recs), got.reasons(), c.kept, want)
			}
		})
	}
}

// TestBitflip: one byte of the data is flipped; other text or a rejection, never a crash.
func TestBitflip(t *testing.T) {
	got := readAll(t, filepath.Join("testdata", "dirty", "docs_bitflip.parquet"), Options{})
	if len(got.recs)+len(got.rejects) == 0 && got.open == nil {
		t.Fatal("40 rows vanished without a word")
	}
}

// TestMalformedLines checks each line's own verdict.
func TestMalformedLines(t *testing.T) {
	got := readAll(t, filepath.Join("testdata", "dirty", "malformed.jsonl"), Options{})
	text := map[int64]string{}
	for _, r := range got.recs {
		text[r.Index+1] = r.Text
	}
	reason := map[int64]string{}
	for _, r := range got.rejects {
		reason[r.Index+1] = r.Reason
	}
	for line, want := range map[int64]string{2: ReasonTruncatedRecord, 6: ReasonNotAnObject, 8: ReasonMissingText, 9: ReasonNullText,
		10: ReasonTextNotAString,
		11: ReasonMalformedJSON, 12: ReasonMalformedJSON, 15: ReasonInvalidUTF8, 16: ReasonInvalidUTF8, 18: ReasonMalformedJSON,
		19: ReasonEmptyText, 20: ReasonMissingText} {
		if reason[line] != want {
			t.Errorf("line %d: %q, want %q", line, reason[line], want)
		}
	}
	for line, want := range map[int64]string{1: `"Then why`, 13: "Chuchundra", 14: "nul \x00 inside", 41: "no newline at the end"} {
		if line == 13 {
			want = "Chuchundra sat down"
		}
		if !strings.HasPrefix(text[line], want) {
			t.Errorf("line %d: %.40q, want %q…", line, text[line], want)
		}
	}
	if strings.HasSuffix(text[3], "\r") {
		t.Error("line 3 keeps its \\r")
	}
}

// TestHuge: a line of 20 MiB of nested arrays costs no more than the limit, and the next line is read.
func TestHuge(t *testing.T) {
	p := filepath.Join(t.TempDir(), "x.jsonl")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		f.Write(bytes.Repeat([]byte{'['}, 1<<20))
	}
	f.WriteString("\n{\"text\": \"ok\"}\n" + strings.Repeat("[", 20000) + "\n")
	f.Close()
	got := readAll(t, p, Options{MaxRecordBytes: 1 << 20})
	if len(got.recs) != 1 || got.recs[0].Index != 1 ||
		!maps.Equal(got.reasons(), map[string]int{ReasonRecordTooLarge: 1, ReasonMalformedJSON: 1}) &&
			!maps.Equal(got.reasons(), map[string]int{ReasonRecordTooLarge: 1, ReasonTruncatedRecord: 1}) {
		t.Fatalf("%d kept, %v", len(got.recs), got.reasons())
	}
	if v := got.rejects[0].Value; v != "20971521 bytes" /* with its \n */ {
		t.Fatalf("size %q", v)
	}
}

func TestRecordLimitIsExact(t *testing.T) {
	dir := t.TempDir()
	for _, end := range []string{"\n", "\r\n", ""} {
		p := filepath.Join(dir, "a.txt")
		os.WriteFile(p, []byte("1234567890"+end), 0o644)
		if got := readAll(t, p, Options{MaxRecordBytes: 10}); len(got.recs) != 1 || got.recs[0].Text != "1234567890" {
			t.Errorf("%q: %+v", end, got)
		}
		if got := readAll(t, p, Options{MaxRecordBytes: 9}); got.reasons()[ReasonRecordTooLarge] != 1 {
			t.Errorf("%q: %+v", end, got)
		}
		os.WriteFile(p, []byte("12345\n67890"), 0o644)
		for _, mode := range []string{TextParagraph, TextFile} {
			if got := readAll(t, p, Options{MaxRecordBytes: 11, TextMode: mode}); len(got.recs) != 1 || got.recs[0].Text != "12345\n67890" {
				t.Errorf("%s: %+v", mode, got)
			}
			if got := readAll(t, p, Options{MaxRecordBytes: 10, TextMode: mode}); got.reasons()[ReasonRecordTooLarge] != 1 {
				t.Errorf("%s: %+v", mode, got)
			}
		}
	}
}

func TestDetect(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, want, err string }{
		"a":        {"{\"text\": \"x\"}\n", "x", ""},
		"b":        {"hello\n", "hello", ""},
		"c.md":     {"{brace\n", "{brace\n", ""},
		"d.json":   {"[{\"text\": \"x\"}]", "x", ""},
		"e.csv":    {"a,text\n1,x\n", "x", ""},
		"f.txt":    {"\xef\xbb\xbfbom\r\n", "bom", ""},
		"g.ndjson": {"\xef\xbb\xbf{\"text\":\"\\ud83d\\ude00 \\\\ud800\"}\n", "😀 \\ud800", ""},
	} {
		p := filepath.Join(dir, name)
		os.WriteFile(p, []byte(c.content), 0o644)
		got := readAll(t, p, Options{})
		if c.err != "" {
			if got.open == nil || !strings.Contains(got.open.Error(), c.err) {
				t.Errorf("%s: %v", name, got.open)
			}
		} else if len(got.recs) != 1 || got.recs[0].Text != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, o := range []Options{{Format: "xml"}, {TextMode: "page"}, {MaxRecordBytes: -1}} {
		if err := o.Validate(); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

func FuzzJSONL(f *testing.F) {
	for _, s := range []string{"{\"text\":\"a\"}\n\n{}", "{\"text\":\"\\ud800\"}", "\xef\xbb\xbfnull\r\n[1]",
		"{\"text\":1,\"text\":\"b\"}", "{\"a\":"} {
		f.Add([]byte(s))
	}
	p := filepath.Join(f.TempDir(), "f.jsonl")
	f.Fuzz(func(t *testing.T, b []byte) {
		if os.WriteFile(p, b, 0o644) != nil {
			return
		}
		got := readAll(t, p, Options{Format: FormatJSONL, MaxRecordBytes: 64})
		if got.open != nil {
			return
		}
		records := 0
		if compressionOf(b) == plain {
			text := bytes.TrimPrefix(b, bom)
			if e := sniffEncoding(b); e != utf8Encoding {
				text, _ = io.ReadAll(newUnicodeReader(bytes.NewReader(bytes.TrimPrefix(b, e.mark)), e))
			}
			for _, l := range bytes.Split(text, []byte("\n")) {
				if len(bytes.TrimSpace(l)) > 0 || len(l) > 65 {
					records++
				}
			}
			if n := len(got.recs) + len(got.rejects); n != records && !bytes.Contains(text, []byte("\r")) && n < records {
				t.Fatalf("%d of %d records accounted for", n, records)
			}
		}
		for _, r := range got.recs {
			if r.Text == "" || len(r.Text) > 64*3 {
				t.Fatalf("%+v", r)
			}
		}
	})
}
