package datasets

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// rawPage is a page of a file made by hand: what is stored of it, and what its header says.
type rawPage struct {
	dictionary bool
	v2         bool
	values     int32
	size       int32 // uncompressed, where not that of data
	coding     format.Encoding
	reps, defs []byte // of the second version
	data       []byte
}

// rawFile is a Parquet file of one column, "prompt": a plain one, an optional one, or a list.
type rawFile struct {
	kind     format.Type
	optional bool
	list     bool
	columns  int // of the same kind and content, where not 1
	codec    format.CompressionCodec
	pages    []rawPage
}

func (f rawFile) bytes(t *testing.T) []byte {
	t.Helper()
	p := new(thrift.CompactProtocol)
	marshal := func(v any) []byte {
		b, err := thrift.Marshal(p, v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	some := func(r format.FieldRepetitionType) (n thrift.Null[format.FieldRepetitionType]) {
		n.V, n.Valid = r, true
		return n
	}
	kids := func(k int32) (n thrift.Null[int32]) { n.V, n.Valid = k, true; return n }
	var kind thrift.Null[format.Type]
	kind.V, kind.Valid = f.kind, true
	n := max(1, f.columns)
	meta := format.FileMetaData{Version: 1, NumRows: 3, Schema: []format.SchemaElement{{Name: "schema", NumChildren: kids(int32(n))}},
		RowGroups: []format.RowGroup{{NumRows: 3}}}
	out := []byte("PAR1")
	for c := range n {
		name := "prompt"
		if c > 0 {
			name = fmt.Sprintf("more%d", c)
		}
		path := []string{name}
		leaf := format.SchemaElement{Name: name, Type: kind}
		switch {
		case f.list:
			leaf.Name = "element"
			leaf.RepetitionType = some(format.Required)
			path = []string{name, "list", "element"}
			meta.Schema = append(meta.Schema, format.SchemaElement{Name: name, NumChildren: kids(1), RepetitionType: some(format.Required)},
				format.SchemaElement{Name: "list", NumChildren: kids(1), RepetitionType: some(format.Repeated)})
		case f.optional:
			leaf.RepetitionType = some(format.Optional)
		default:
			leaf.RepetitionType = some(format.Required)
		}
		meta.Schema = append(meta.Schema, leaf)
		d := format.ColumnMetaData{Type: f.kind, PathInSchema: path, Codec: f.codec, Encoding: []format.Encoding{format.Plain}}
		from := int64(len(out))
		for _, g := range f.pages {
			h := format.PageHeader{UncompressedPageSize: g.size, CompressedPageSize: int32(len(g.reps) + len(g.defs) + len(g.data))}
			if h.UncompressedPageSize == 0 {
				h.UncompressedPageSize = h.CompressedPageSize
			}
			switch {
			case g.dictionary:
				h.Type = format.DictionaryPage
				h.DictionaryPageHeader.Valid = true
				h.DictionaryPageHeader.V = format.DictionaryPageHeader{NumValues: g.values, Encoding: format.Plain}
				d.DictionaryPageOffset = int64(len(out))
			case g.v2:
				h.Type = format.DataPageV2
				h.DataPageHeaderV2.Valid = true
				h.DataPageHeaderV2.V = format.DataPageHeaderV2{NumValues: g.values, NumRows: 3, Encoding: g.coding,
					RepetitionLevelsByteLength: int32(len(g.reps)), DefinitionLevelsByteLength: int32(len(g.defs))}
			default:
				h.DataPageHeader.Valid = true
				h.DataPageHeader.V = format.DataPageHeader{NumValues: g.values, Encoding: g.coding,
					RepetitionLevelEncoding: format.RLE, DefinitionLevelEncoding: format.RLE}
			}
			if !g.dictionary {
				d.NumValues += int64(g.values)
				if d.DataPageOffset == 0 {
					d.DataPageOffset = int64(len(out))
				}
			}
			out = slices.Concat(out, marshal(&h), g.reps, g.defs, g.data)
		}
		d.TotalCompressedSize = int64(len(out)) - from
		d.TotalUncompressedSize = d.TotalCompressedSize
		meta.RowGroups[0].Columns = append(meta.RowGroups[0].Columns, format.ColumnChunk{MetaData: d})
	}
	foot := marshal(&meta)
	out = append(out, foot...)
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(foot))), "PAR1"...)
}

// run is a run of equal values of a hybrid: how many, and the value's bytes.
func run(n uint64, value ...byte) []byte { return append(binary.AppendUvarint(nil, n<<1), value...) }

// sized has its length before it.
func sized(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// deltas is a DELTA_BINARY_PACKED block that says of itself that it has n values, the first first, with blocks of one miniblock
// without bits.
func deltas(n uint64, first int64, steps ...int64) []byte {
	b := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 128), 1), n)
	b = binary.AppendVarint(b, first)
	for _, s := range steps {
		b = append(binary.AppendVarint(b, s), 0)
	}
	return b
}

const many = 1<<31 - 1

// bombs are small files that a decoder takes gigabytes for.
func bombs() map[string]rawFile {
	text := func(s ...string) (b []byte) {
		for _, v := range s {
			b = append(b, sized([]byte(v))...)
		}
		return b
	}
	abc := text("a", "b", "c")
	zeros := func(n int) []byte {
		var z bytes.Buffer
		w, _ := gzip.NewWriterLevel(&z, 9)
		w.Write(make([]byte, n))
		w.Close()
		return z.Bytes()
	}
	page := func(coding format.Encoding, data ...[]byte) []rawPage {
		return []rawPage{{values: 3, coding: coding, data: slices.Concat(data...)}}
	}
	dict := func(data []byte) []rawPage {
		return []rawPage{{dictionary: true, values: 3, data: abc}, {values: 3, coding: format.RLEDictionary, data: data}}
	}
	long := rawPage{values: 1 << 24, coding: format.RLEDictionary,
		data: slices.Concat(sized(run(1<<24, 1)), sized(run(1<<24, 1)), []byte{0}, run(1<<24))}
	begin := rawPage{values: 3, coding: format.RLEDictionary, data: slices.Concat(sized([]byte{3, 0}), sized(run(3, 1)), []byte{0}, run(3))}
	return map[string]rawFile{
		"definition levels": {kind: format.ByteArray, optional: true, pages: page(format.Plain, sized(run(many, 1)), abc)},
		"definition levels, 40 runs": {kind: format.ByteArray, optional: true,
			pages: page(format.Plain, sized(bytes.Repeat(run(1<<28, 1), 40)), abc)},
		"definition levels, v2": {kind: format.ByteArray, optional: true,
			pages: []rawPage{{v2: true, values: 3, defs: run(many, 1), data: abc}}},
		"repetition levels": {kind: format.ByteArray, list: true,
			pages: page(format.Plain, sized(run(many, 0)), sized(run(3, 1)), abc)},
		"repetition levels, v2": {kind: format.ByteArray, list: true,
			pages: []rawPage{{v2: true, values: 3, reps: run(many, 0), defs: run(3, 1), data: abc}}},
		"dictionary indexes":          {kind: format.ByteArray, pages: dict(append([]byte{2}, run(many, 0)...))},
		"dictionary indexes, no bits": {kind: format.ByteArray, pages: dict(append([]byte{0}, run(many)...))},
		"dictionary indexes, 40 runs": {kind: format.ByteArray, pages: dict(append([]byte{0}, bytes.Repeat(run(1<<26), 40)...))},
		"booleans":                    {kind: format.Boolean, pages: page(format.RLE, sized(bytes.Repeat(run(many, 1), 20)))},
		"booleans, v2": {kind: format.Boolean,
			pages: []rawPage{{v2: true, values: 3, coding: format.RLE, data: sized(bytes.Repeat(run(many, 1), 20))}}},
		"deltas, int32": {kind: format.Int32, pages: page(format.DeltaBinaryPacked, deltas(many, 0, 1))},
		"deltas, int64": {kind: format.Int64, pages: page(format.DeltaBinaryPacked, deltas(many, 0, 1))},
		"deltas, wide": {kind: format.Int32,
			pages: page(format.DeltaBinaryPacked, []byte{0x80, 1, 1, 3, 0, 0, 255}, make([]byte, 64))},
		"lengths, count": {kind: format.ByteArray, pages: page(format.DeltaLengthByteArray, deltas(many, 1, 0), []byte("abc"))},
		"lengths": {kind: format.ByteArray,
			pages: page(format.DeltaLengthByteArray, deltas(3, many, 0, 0), []byte("abc"))},
		"prefixes, count": {kind: format.ByteArray,
			pages: page(format.DeltaByteArray, deltas(many, 0, 0), deltas(3, 1, 0), []byte("abc"))},
		"prefixes": {kind: format.ByteArray,
			pages: page(format.DeltaByteArray, deltas(3, 0, 1<<30), deltas(3, 1, 0), []byte("abc"))},
		"suffixes, count": {kind: format.ByteArray,
			pages: page(format.DeltaByteArray, deltas(3, 0, 0), deltas(many, 1, 0), []byte("abc"))},
		"suffixes": {kind: format.ByteArray,
			pages: page(format.DeltaByteArray, deltas(3, 0, 0), deltas(3, 1<<30, 0), []byte("abc"))},
		"snappy, length": {kind: format.ByteArray, codec: format.Snappy,
			pages: []rawPage{{values: 3, size: 15, data: binary.AppendUvarint(nil, 1<<32-1)}}},
		"lz4, not lz4": {kind: format.ByteArray, codec: format.Lz4Raw,
			pages: []rawPage{{values: 3, size: 15, data: bytes.Repeat([]byte{0xff}, 9)}}},
		"gzip, more than it says": {kind: format.ByteArray, codec: format.Gzip,
			pages: []rawPage{{values: 3, size: 15, data: zeros(1 << 29)}}},
		"zstd, more than it says": {kind: format.ByteArray, codec: format.Zstd,
			pages: []rawPage{{values: 3, size: 15, data: bigFrame(1 << 30)}}},
		"snappy, v2": {kind: format.ByteArray, codec: format.Snappy,
			pages: []rawPage{{v2: true, values: 3, size: 15, data: binary.AppendUvarint(nil, 1<<32-1)}}},
		"dictionary page, snappy": {kind: format.ByteArray, codec: format.Snappy,
			pages: []rawPage{{dictionary: true, values: 3, size: 15, data: binary.AppendUvarint(nil, 1<<32-1)},
				{values: 3, coding: format.RLEDictionary, data: []byte{1, 0}}}},
		"a row of 2^28 values": {kind: format.ByteArray, list: true,
			pages: append([]rawPage{{dictionary: true, values: 3, data: abc}, begin}, slices.Repeat([]rawPage{long}, 16)...)},
		"rows of 2^24 values, columns": {kind: format.ByteArray, list: true, columns: 20,
			pages: []rawPage{{dictionary: true, values: 3, data: abc}, begin, long}},
	}
}

// bigFrame is a zstd frame of n zeros in blocks of 128 KiB, of 4 bytes each, that names its size.
func bigFrame(n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xfd2fb528)
	b = append(b, 0x80, 0x70) // 4 bytes of size, a window of 16 MiB
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	for at := 0; at < n; at += 128 << 10 {
		h := uint32(128<<10)<<3 | 1<<1
		if at+128<<10 >= n {
			h |= 1
		}
		b = append(b, byte(h), byte(h>>8), byte(h>>16), 0)
	}
	return b
}

// TestPageBombs: what the pages of a small file say of themselves takes no memory out of proportion, and is an error that names
// the file. Each is read by a process of its own, of little address space.
func TestPageBombs(t *testing.T) {
	if path := os.Getenv("DATASETS_BOMB"); path != "" {
		readBomb(path)
		return
	}
	for name, f := range bombs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := f.bytes(t)
			path := filepath.Join(t.TempDir(), "bomb.parquet")
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPageBombs$")
			cmd.Env = append(os.Environ(), "DATASETS_BOMB="+path)
			cmd.WaitDelay = time.Second
			timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
			defer timer.Stop()
			out, err := cmd.CombinedOutput()
			text := string(out)
			took, message := bombResult(text)
			if err != nil || took < 0 {
				t.Fatalf("%d bytes: %v\n%.600s", len(raw), err, text)
			}
			if took > 64<<20+64*int64(len(raw)) {
				t.Errorf("%d MiB were taken for a file of %d bytes: %.300s", took>>20, len(raw), message)
			}
			if !strings.Contains(message, "bomb.parquet") || !strings.Contains(message, "the page at byte") || len(message) > 1000 {
				t.Errorf("%.1500q", message)
			}
			t.Logf("%d bytes, %d KiB: %s", len(raw), took>>10, message)
		})
	}
}

func readBomb(path string) {
	limit := syscall.Rlimit{Cur: 3 << 30, Max: 3 << 30}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		panic(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := readLiesOf(path, Options{RowKind: RowPromptCompletion})
	runtime.ReadMemStats(&after)
	fmt.Printf("took %d %q\n", after.TotalAlloc-before.TotalAlloc, fmt.Sprint(err))
}

func bombResult(out string) (took int64, message string) {
	for line := range strings.Lines(out) {
		if k, err := fmt.Sscanf(line, "took %d %q", &took, &message); k == 2 && err == nil {
			return took, message
		}
	}
	return -1, ""
}
