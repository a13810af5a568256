package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// liar is a Parquet file taken apart: the first page's header, what is behind it, and the footer.
type liar struct {
	page   format.PageHeader
	rest   []byte
	meta   format.FileMetaData
	footer []byte // in place of meta
	length int64  // of the footer as the file says it, where not 0
	end    int    // of the pages
}

func takeApart(t *testing.T, raw []byte) *liar {
	t.Helper()
	var l liar
	end := len(raw) - 8 - int(binary.LittleEndian.Uint32(raw[len(raw)-8:]))
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), raw[end:len(raw)-8], &l.meta); err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(raw[4:end])
	if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(r)).Decode(&l.page); err != nil {
		t.Fatal(err)
	}
	l.rest, l.end = raw[end-r.Len():end], end
	return &l
}

// bytes puts the file together: its columns lie where they do with the new header.
func (l *liar) bytes(t *testing.T) []byte {
	t.Helper()
	p := new(thrift.CompactProtocol)
	head, err := thrift.Marshal(p, &l.page)
	if err != nil {
		t.Fatal(err)
	}
	by := int64(4 + len(head) + len(l.rest) - l.end)
	for i := range l.meta.RowGroups {
		for j := range l.meta.RowGroups[i].Columns {
			c := &l.meta.RowGroups[i].Columns[j].MetaData
			if i == 0 && j == 0 {
				c.TotalCompressedSize += by
			}
			for _, at := range []*int64{&c.DataPageOffset, &c.DictionaryPageOffset} {
				if *at > 4 {
					*at += by
				}
			}
		}
	}
	if l.footer == nil {
		if l.footer, err = thrift.Marshal(p, &l.meta); err != nil {
			t.Fatal(err)
		}
	}
	if l.length == 0 {
		l.length = int64(len(l.footer))
	}
	out := append([]byte("PAR1"), head...)
	out = append(append(out, l.rest...), l.footer...)
	return append(binary.LittleEndian.AppendUint32(out, uint32(l.length)), "PAR1"...)
}

// lies are files whose metadata is not true of them.
var lies = []struct {
	name string
	tell func(l *liar)
}{
	{"footer larger than the file", func(l *liar) { l.length = 0xfffffff0 }},
	{"list of 2^31-1 columns", func(l *liar) { l.footer = []byte{0x15, 2, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7} }},
	{"list of 2^31-1 row groups", func(l *liar) {
		l.footer = []byte{0x15, 2, 0x19, 0x1c, 0x48, 1, 'r', 0x15, 0, 0, 0x16, 0, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7}
	}},
	{"a million empty row groups", func(l *liar) {
		l.footer = append([]byte{0x15, 2, 0x19, 0x1c, 0x48, 1, 'r', 0x15, 0, 0, 0x16, 0, 0x19, 0xfc, 0xc0, 0x84, 0x3d},
			make([]byte, 1000001)...)
	}},
	{"unknown fields in one another", func(l *liar) { l.footer = append(bytes.Repeat([]byte{0xfc}, 30<<20), 0) }},
	{"lists in one another", func(l *liar) { l.footer = append([]byte{0xf9}, append(bytes.Repeat([]byte{0x19}, 30<<20), 0)...) }},
	{"columns in one another", func(l *liar) {
		one := l.meta.Schema[0]
		one.NumChildren.V, one.NumChildren.Valid = 1, true
		l.meta.Schema = append(slices.Repeat([]format.SchemaElement{one}, 20000), l.meta.Schema...)
	}},
	{"children that there are not", func(l *liar) { l.meta.Schema[0].NumChildren.V = 1<<31 - 1 }},
	{"rows, 2^62", func(l *liar) { l.meta.NumRows = 1 << 62; l.meta.RowGroups[0].NumRows = 1 << 62 }},
	{"rows, 2^39", func(l *liar) { l.meta.NumRows = 1 << 39; l.meta.RowGroups[0].NumRows = 1 << 39 }},
	{"rows, negative", func(l *liar) { l.meta.NumRows, l.meta.RowGroups[0].NumRows = -1, -1 }},
	{"rows of the file", func(l *liar) { l.meta.NumRows = 1 << 40 }},
	{"chunk behind the file", func(l *liar) { l.meta.RowGroups[0].Columns[0].MetaData.DataPageOffset = 1 << 50 }},
	{"chunk before the file", func(l *liar) { l.meta.RowGroups[0].Columns[0].MetaData.DataPageOffset = -5 }},
	{"size of a chunk", func(l *liar) { l.meta.RowGroups[0].Columns[0].MetaData.TotalCompressedSize = 1<<63 - 1000 }},
	{"values of a chunk, negative", func(l *liar) { l.meta.RowGroups[0].Columns[0].MetaData.NumValues = -7 }},
	{"no columns in a row group", func(l *liar) { l.meta.RowGroups[0].Columns = nil }},
	{"page of 2 GiB", func(l *liar) { l.page.CompressedPageSize = 1<<31 - 1 }},
	{"page that becomes 2 GiB", func(l *liar) { l.page.UncompressedPageSize = 1<<31 - 1 }},
	{"values of a page, 2^31-1", func(l *liar) {
		for i := range l.meta.RowGroups[0].Columns {
			l.meta.RowGroups[0].Columns[i].MetaData.NumValues = 1 << 40
		}
		l.page.DataPageHeader.V.NumValues = 1<<31 - 1
		l.page.DataPageHeaderV2.V.NumValues = 1<<31 - 1
		l.page.DictionaryPageHeader.V.NumValues = 1<<31 - 1
	}},
	{"values of a page, more than its chunk's", func(l *liar) {
		l.page.DataPageHeader.V.NumValues += 100000
		l.page.DataPageHeaderV2.V.NumValues += 100000
		l.page.DictionaryPageHeader.V.NumValues += 100000
	}},
	{"levels longer than the page", func(l *liar) {
		l.page.DataPageHeaderV2.V.RepetitionLevelsByteLength = 1<<31 - 1
		l.page.DataPageHeaderV2.V.DefinitionLevelsByteLength = 1<<31 - 1
		l.meta.RowGroups[0].Columns[0].MetaData.NumValues, l.page.CompressedPageSize = 3, l.page.CompressedPageSize-1
	}},
	{"kind of page that there is not", func(l *liar) { l.page.Type = 77 }},
}

// TestParquetLies: metadata that is not true is an error or a dead letter, without a panic and without memory for what it says; of inputs
// with one column, with nested columns, and of shards.
func TestParquetLies(t *testing.T) {
	type text struct {
		Text string `parquet:"text"`
	}
	var plain, packed, dict bytes.Buffer
	for buf, opts := range map[*bytes.Buffer][]parquet.WriterOption{&plain: nil, &packed: {parquet.Compression(&parquet.Zstd)},
		&dict: {parquet.DataPageVersion(1)}} {
		w := parquet.NewGenericWriter[text](buf, opts...)
		if _, err := w.Write([]text{{"one"}, {"two"}, {"three"}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	nested, err := os.ReadFile(filepath.Join("testdata", "dirty", "chat_nested.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(t.TempDir(), "s.parquet")
	writeShard(t, at, []Sequence{{InputIDs: []int32{1, 2, 3}, Labels: []int32{1, 2, 3}, DocStarts: []int32{0}, DocIDs: []string{"d"},
		DocSpans: [][2]int32{{0, 3}},
		Sources:  []string{"s"}}}, 100)
	shard, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []struct {
		name string
		raw  []byte
		read func(path string) error
	}{{"plain", plain.Bytes(), readLies}, {"packed", packed.Bytes(), readLies}, {"v1", dict.Bytes(), readLies},
		{"nested", nested, readLies}, {"shard", shard, readShardLies}} {
		for _, c := range lies {
			t.Run(file.name+"/"+c.name, func(t *testing.T) {
				l := takeApart(t, file.raw)
				path := filepath.Join(t.TempDir(), "lie.parquet")
				if err := os.WriteFile(path, l.bytes(t), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := file.read(path); err != nil {
					t.Fatalf("the file itself: %v", err)
				}
				l = takeApart(t, file.raw)
				c.tell(l)
				raw := l.bytes(t)
				if err := os.WriteFile(path, raw, 0o600); err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := file.read(path)
				runtime.ReadMemStats(&after)
				if took := after.TotalAlloc - before.TotalAlloc; took > 256<<20 {
					t.Errorf("%d MiB were taken for a file of %d bytes", took>>20, len(raw))
				}
				if err == nil {
					t.Fatal("no error")
				}
				if text := err.Error(); !strings.Contains(text, "lie.parquet") || strings.Contains(text, "\n") || len(text) > 1000 {
					t.Errorf("%.1500s", text)
				}
				t.Logf("%.200s", err)
			})
		}
	}
}

// readLies reads an input; a dead letter for the file is an error, too.
func readLies(path string) error { return readLiesOf(path, Options{}) }

func readLiesOf(path string, o Options) error {
	r, err := Open(path, path, o)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		_, rej, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rej != nil && (rej.Reason == ReasonCorruptFile || rej.Reason == ReasonTruncatedFile) {
			return errors.New(rej.Source + ": " + rej.Reason + ": " + rej.Value)
		}
	}
}

func readShardLies(path string) error {
	s, err := OpenShard(path)
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range s.NumRowGroups() {
		if _, err := s.Silent(i); err != nil {
			return err
		}
		if _, err := s.ReadRowGroup(i); err != nil {
			return err
		}
	}
	return nil
}
