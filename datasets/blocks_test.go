package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// contents is what reading a file gives.
type contents struct {
	Records []Record
	Rejects []Reject
	Layout  [2]string
	Tally   Tally
}

func (c *contents) read(t testing.TB, r Reader) {
	t.Helper()
	defer r.Close()
	for {
		rec, rej, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case rej != nil:
			c.Rejects = append(c.Rejects, *rej)
		default:
			c.Records = append(c.Records, rec)
		}
	}
	format, rows := r.Layout()
	if one := [2]string{format, rows}; c.Layout == [2]string{} {
		c.Layout = one
	} else if c.Layout != one {
		t.Fatalf("one block is %q, another %q", c.Layout, one)
	}
	c.Tally.Add(r.Tally())
}

func wholeOf(t testing.TB, path string, o Options) (c contents) {
	t.Helper()
	r, err := Open(path, "source", o)
	if err != nil {
		t.Fatal(err)
	}
	c.read(t, r)
	return c
}

// blocksOf reads a file by blocks, as the steps of a pipeline do: each counts before any is read, and the last is read first.
func blocksOf(t testing.TB, path string, o Options, size int64) (c contents, blocks int) {
	t.Helper()
	var all []Block
	if err := EachBlock(path, o, size, func(b Block) error { all = append(all, b); return nil }); err != nil {
		t.Fatal(err)
	}
	var p Places
	kept := all[:0]
	for i := range all {
		b, ok := all[i], true
		if b.Counted() {
			n, err := CountLines(path, b)
			if err != nil {
				t.Fatal(err)
			}
			ok = p.Place(&b, n)
		}
		if ok {
			kept = append(kept, b)
		}
	}
	parts := make([]contents, len(kept))
	for i := len(kept) - 1; i >= 0; i-- {
		r, err := OpenBlock(path, "source", o, kept[i])
		if err != nil {
			t.Fatal(err)
		}
		parts[i].read(t, r)
	}
	for i, part := range parts {
		if i > 0 && part.Layout != parts[0].Layout {
			t.Fatalf("blocks of %d bytes: one is %q, one %q", size, parts[0].Layout, part.Layout)
		}
		c.Layout = part.Layout
		c.Records, c.Rejects = append(c.Records, part.Records...), append(c.Rejects, part.Rejects...)
		c.Tally.Add(part.Tally)
	}
	return c, len(kept)
}

// sameByBlocks reads a file by blocks of many sizes and returns the greatest number of them.
func sameByBlocks(t *testing.T, path string, o Options, sizes ...int64) (most int) {
	t.Helper()
	want := wholeOf(t, path, o)
	for _, size := range sizes {
		got, n := blocksOf(t, path, o, size)
		most = max(most, n)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s by blocks of %d bytes (%d):\n%d records %d rejects %v\nthe whole file:\n%d records, %d rejects, %v\n%s",
				path, size, n, len(got.Records), len(got.Rejects), got.Tally, len(want.Records), len(want.Rejects), want.Tally,
				firstOther(got, want))
		}
	}
	return most
}

// firstOther is the first record or rejection that is another.
func firstOther(a, b contents) string {
	for i := range min(len(a.Records), len(b.Records)) {
		if a.Records[i] != b.Records[i] {
			return fmt.Sprintf("%.300v\n%.300v", a.Records[i], b.Records[i])
		}
	}
	return fmt.Sprintf("%.1000v\n%.1000v", a.Rejects, b.Rejects)
}

func put(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// nasty are lines of JSONL with all that is wrong with lines.
func nasty() map[string]string {
	long := strings.Repeat("long ", 80)
	lines := []string{`{"text": "one", "url": "https://example.org", "extra": 1}`, "", "   ", `{"text": "grüße, 你好, 👋🏽"}`, "no JSON",
		`{"text": "` + long + `"}`, `{"text": 3}`, "\r", `{"text": "cr"}` + "\r",
		"\xff\xfe bad", `{"text": "nul \u0000"}`, `[1]`, "{\"text\": \"\xe4\"}",
		`{"txt": "another"}`, `{"text": "` + strings.Repeat("é", 90) + `"}`, `{"text": ""}`, `{"text": "last", "other": [1]}`}
	all := strings.Join(lines, "\n")
	return map[string]string{
		"no last break":    all,
		"last break":       all + "\n",
		"mark":             "\xef\xbb\xbf" + all + "\n\n\n",
		"crlf":             strings.ReplaceAll(all, "\n", "\r\n") + "\r\n",
		"breaks first":     "\n\n\n" + all,
		"bad first":        "no\n[]\n\n" + `{"prompt": "p", "completion": "c"}` + "\n" + all,
		"one line":         `{"text": "` + long + `"}`,
		"one line, broken": `{"text": "` + long,
		"breaks":           "\n\n\n\n\n",
		"mark alone":       "\xef\xbb\xbf\n",
		"only bad":         strings.Repeat("bad\n", 9),
		"cut":              all + "\n" + `{"text": "cut`,
	}
}

// steps are the sizes of blocks that small files are read by.
var steps = []int64{1, 2, 3, 7, 64, 333, 4 << 10}

// TestLinesByBlocks: lines of text and JSONL have the ids, rejections and tallies of the whole file, wherever it is cut.
func TestLinesByBlocks(t *testing.T) {
	for name, content := range nasty() {
		t.Run(name, func(t *testing.T) {
			for _, o := range []Options{{}, {Format: FormatText}, {MaxRecordBytes: 50}, {Format: FormatText, MaxRecordBytes: 50}} {
				most := sameByBlocks(t, put(t, "x.jsonl", []byte(content)), o, steps...)
				if most < len(content) {
					t.Fatalf("%d blocks of a byte, the file has %d bytes", most, len(content))
				}
			}
		})
	}
}

// frames compresses a text in frames of n bytes, with skippable and empty frames between.
func frames(t testing.TB, text []byte, n int, extras bool) (out []byte, table []zstdFrame) {
	t.Helper()
	for i := 0; len(text) > 0; i++ {
		var opts []zstd.EOption
		if i%3 == 1 {
			opts = append(opts, zstd.WithEncoderCRC(false))
		}
		w, err := zstd.NewWriter(nil, append(opts, zstd.WithSingleSegment(i%2 == 0))...)
		if err != nil {
			t.Fatal(err)
		}
		k := min(n, len(text))
		from := len(out)
		if i%4 == 3 { // by a stream, without its size
			var b bytes.Buffer
			w.Reset(&b)
			for _, c := range text[:k] {
				w.Write([]byte{c})
				if c == '\n' {
					w.Flush()
				}
			}
			w.Close()
			out = append(out, b.Bytes()...)
		} else {
			out = w.EncodeAll(text[:k], out)
		}
		table = append(table, zstdFrame{int64(from), int64(len(out)), int64(k)})
		text = text[k:]
		if extras && i%3 == 0 {
			from := len(out)
			out = append(out, 0x5a, 0x2a, 0x4d, 0x18, 7, 0, 0, 0)
			out = append(out, "skipped"...)
			table = append(table, zstdFrame{int64(from), int64(len(out)), 0})
		}
	}
	return out, table
}

// seekable adds the table of the seekable format.
func seekable(out []byte, table []zstdFrame) []byte {
	out = binary.LittleEndian.AppendUint32(out, seekTableMagic)
	out = binary.LittleEndian.AppendUint32(out, uint32(8*len(table)+seekFooter))
	for _, f := range table {
		out = binary.LittleEndian.AppendUint32(out, uint32(f.to-f.from))
		out = binary.LittleEndian.AppendUint32(out, uint32(f.holds))
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(table)))
	out = append(out, 0)
	return binary.LittleEndian.AppendUint32(out, seekMagic)
}

// TestFramesByBlocks: the same of frames of zstd, with a table and without.
func TestFramesByBlocks(t *testing.T) {
	for name, content := range nasty() {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 17, 400, 1 << 20} {
				content := content
				if n == 1 {
					content = content[:min(len(content), 150)]
				}
				raw, table := frames(t, []byte(content), n, true)
				for _, b := range [][]byte{raw, seekable(raw, table)} {
					most := sameByBlocks(t, put(t, "x.jsonl.zst", b), Options{}, 1, 60, 1000)
					if want := (len(content) + n - 1) / n; want > 1 && most != want && name != "mark alone" {
						t.Fatalf("frames of %d bytes: %d blocks, want %d", n, most, want)
					}
				}
			}
		})
	}
}

// TestSeekTable: the table is read where it is right; one that lies is not believed.
func TestSeekTable(t *testing.T) {
	text := []byte(strings.Repeat("a line of some length\n", 500))
	raw, table := frames(t, text, 1000, false)
	good := seekable(raw, table)
	walk := func(b []byte) (cuts []int64, tabled bool) {
		f := bytesReaderAt{bytes.NewReader(b)}
		tabled, err := seekTable(f, func(zstdFrame) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if cuts, err = zstdCuts(f, 1500); err != nil {
			t.Fatal(err)
		}
		return cuts, tabled
	}
	want, tabled := walk(raw)
	if tabled || len(want) < len(table)/2 {
		t.Fatalf("%d cuts of %d frames, with a table: %v", len(want), len(table), tabled)
	}
	if got, tabled := walk(good); !tabled || len(got) != len(table) {
		t.Errorf("by the table %v (%v) of %d frames", got, tabled, len(table))
	}
	for i, edit := range []func(b []byte){
		func(b []byte) { b[len(raw)+8]++ },                   // a size of a frame
		func(b []byte) { b[len(b)-9]++ },                     // the number of frames
		func(b []byte) { b[len(raw)+8]--; b[len(raw)+16]++ }, // two sizes, with the same sum
	} {
		b := bytes.Clone(good)
		edit(b)
		if got, _ := walk(b); !reflect.DeepEqual(got, want) {
			t.Errorf("lie %d: %v, want %v", i, got, want)
		}
	}
}

type bytesReaderAt struct{ *bytes.Reader }

func (bytesReaderAt) Close() error { return nil }

// TestDamagedFrames: what a compressed file has before the damage is read, by blocks as whole, and nothing after it.
func TestDamagedFrames(t *testing.T) {
	var text bytes.Buffer
	for i := range 300 {
		fmt.Fprintf(&text, "{\"text\": \"number %d, %x\"}\n", i, i*i*7919)
	}
	raw, table := frames(t, text.Bytes(), 777, true)
	var data []zstdFrame
	for _, f := range table {
		if f.holds > 0 {
			data = append(data, f)
		}
	}
	mid := data[len(data)/2]
	damage := map[string][]byte{
		"cut":         raw[:mid.from+(mid.to-mid.from)/2],
		"cut between": raw[:mid.from+2],
		"garbage":     append(bytes.Clone(raw[:mid.from]), "no frame of zstd at all"...),
		"nothing":     raw[:mid.from],
	}
	for k := range 3 { // with a checksum, without, and with skippable frames behind
		f := data[len(data)/2+k]
		for at := f.from + 4; at < f.to; at += 19 {
			b := bytes.Clone(raw)
			b[at] ^= 0x55
			damage[fmt.Sprintf("byte %d of %d", at-f.from, k)] = b
		}
	}
	lost := 0
	for name, b := range damage {
		t.Run(name, func(t *testing.T) {
			path := put(t, "x.jsonl.zst", b)
			sameByBlocks(t, path, Options{}, 1, 1000, 3000)
			lost += len(wholeOf(t, path, Options{}).Rejects)
		})
	}
	if lost < 30 {
		t.Errorf("%d rejections", lost)
	}
}

// TestOddFrames: frames of a repeated byte and empty ones of unknown size are frames, too, and garbage behind them is what it is.
func TestOddFrames(t *testing.T) {
	line := []byte(`{"text": "a line"}` + "\n")
	many, _ := frames(t, bytes.Repeat(line, 5), len(line), true)
	repeated := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 10, 10<<3 | 1<<1 | 1, 0, 0, '\n'} // ten line breaks
	var empty bytes.Buffer
	w, err := zstd.NewWriter(&empty, zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	garbage := []byte("garbage behind the last frame")
	for i, parts := range [][][]byte{{many, repeated, many}, {repeated, many, repeated}, {many, empty.Bytes(), many},
		{many, empty.Bytes(), garbage}, {many, repeated, garbage}} {
		if n := sameByBlocks(t, put(t, "x.jsonl.zst", bytes.Join(parts, nil)), Options{}, 1, 30); n < 6 {
			t.Errorf("case %d: %d blocks", i, n)
		}
	}
}

// TestLongLines: lines are longer than blocks, than what is read at once, and than a record may be.
func TestLongLines(t *testing.T) {
	var b bytes.Buffer
	for i, n := range []int{200_000, 10, 70_000, 0, 65_536, 65_535, 3, 131_072} {
		fmt.Fprintf(&b, "{\"text\": \"%d %s\"}\n", i, strings.Repeat("x", n))
	}
	raw, _ := frames(t, b.Bytes(), 30_000, false)
	for _, o := range []Options{{}, {MaxRecordBytes: 70_000}} {
		sameByBlocks(t, put(t, "x.jsonl", b.Bytes()), o, 1000, 30_000, 65_536, 100_000)
		sameByBlocks(t, put(t, "x.jsonl.zst", raw), o, 1, 50_000)
	}
}

// TestOneBlock: what cannot be cut is one block.
func TestOneBlock(t *testing.T) {
	lines := strings.Repeat(`{"text": "a line"}`+"\n", 50)
	utf16 := []byte("\xff\xfe")
	for _, c := range lines {
		utf16 = append(utf16, byte(c), 0)
	}
	one, _ := frames(t, []byte(lines), 1<<20, false)
	many, _ := frames(t, []byte(lines), 20, false)
	for name, f := range map[string]struct {
		content []byte
		o       Options
	}{
		"x.jsonl":     {utf16, Options{}},
		"x.csv":       {[]byte("text\na\nb\nc\nd\n"), Options{}},
		"x.json":      {[]byte(`[{"text": "a"}, {"text": "b"}]`), Options{}},
		"p.txt":       {[]byte("one\ntwo\n\nthree\n"), Options{TextMode: TextParagraph}},
		"f.txt":       {[]byte("one\ntwo\n\nthree\n"), Options{TextMode: TextFile}},
		"one.zst":     {one, Options{}},
		"limited.zst": {many, Options{MaxDecompressed: 1 << 20}},
		"x.gz":        {[]byte("\x1f\x8b no gzip, and longer than a block is"), Options{}},
	} {
		n := 0
		if err := EachBlock(put(t, name, f.content), f.o, 16, func(b Block) error {
			if n++; b != (Block{}) {
				t.Errorf("%s: %+v", name, b)
			}
			return nil
		}); err != nil || n != 1 {
			t.Errorf("%s: %d blocks, %v", name, n, err)
		}
	}
	n := 0
	small := put(t, "small.txt", []byte("one\ntwo\n"))
	if err := EachBlock(small, Options{}, 8, func(Block) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("a file of a block's size: %d blocks, %v", n, err)
	}
}

// TestRowGroupsByBlocks: rows of Parquet have the ids, rejections and tallies of the whole file.
func TestRowGroupsByBlocks(t *testing.T) {
	type plain struct {
		Text  *string `parquet:"text,optional"`
		Key   string  `parquet:"key"`
		Extra int64   `parquet:"extra"`
	}
	type pair struct {
		Prompt     *string  `parquet:"prompt,optional"`
		Completion string   `parquet:"completion"`
		Tags       []string `parquet:"tags,list"`
	}
	write := func(rows int, row func(i int) any) string {
		var b bytes.Buffer
		w := parquet.NewWriter(&b, parquet.SchemaOf(row(0)))
		for i := range rows {
			if err := w.Write(row(i)); err != nil {
				t.Fatal(err)
			}
			if i%500 == 99 || i%1400 == 700 {
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return put(t, "x.parquet", b.Bytes())
	}
	text := func(i int) *string {
		s := strings.Repeat(fmt.Sprint("grüße ", i, " "), 5*(i%9))
		if i%11 == 3 {
			return nil
		}
		if i%13 == 5 {
			s = "\xff"
		}
		return &s
	}
	for name, f := range map[string]struct {
		path string
		o    Options
	}{
		"plain": {write(6000, func(i int) any { return plain{text(i), fmt.Sprint("k", i%3), int64(i)} }), Options{KeyColumn: "key"}},
		"pairs": {write(6000, func(i int) any { return pair{text(i), "answer", []string{"a"}} }), Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			if most := sameByBlocks(t, f.path, f.o, 1, 300000, 1000000); most < 5 {
				t.Errorf("%d blocks", most)
			}
		})
	}
}

// TestChangedFile: a file that changes between its blocks is an error, and no mixture.
func TestChangedFile(t *testing.T) {
	path := put(t, "x.txt", []byte("one\ntwo\n"))
	var all []Block
	if err := EachBlock(path, Options{}, 4, func(b Block) error { all = append(all, b); return nil }); err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBlock(path, "x", Options{}, all[1]); err == nil || !strings.Contains(err.Error(), "it had 8 bytes and has 14") {
		t.Error(err)
	}
	if _, err := CountLines(path, all[1]); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Error(err)
	}
}

// FuzzLineBlocks reads any bytes as lines by blocks of any size.
func FuzzLineBlocks(f *testing.F) {
	for _, s := range nasty() {
		f.Add([]byte(s), uint16(3), true)
		f.Add([]byte(s), uint16(100), false)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, size uint16, jsonl bool) {
		if size == 0 || len(content) > 64*int(size) || compressionOf(content) != plain {
			return
		}
		o := Options{Format: FormatText, MaxRecordBytes: 64}
		if jsonl {
			o.Format = FormatJSONL
		}
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _ := blocksOf(t, path, o, int64(size)); !reflect.DeepEqual(got, wholeOf(t, path, o)) {
			t.Fatalf("blocks of %d bytes: %s", size, firstOther(got, wholeOf(t, path, o)))
		}
	})
}
