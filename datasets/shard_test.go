package datasets

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func writeShard(t testing.TB, path string, seqs []Sequence, groupTokens int64) ShardInfo {
	t.Helper()
	w, err := CreateShard(path, ShardMeta{Kind: KindLM, TokenizerHash: "th", SequenceLength: 32, Packing: PackBFD, IsolateDocuments: true,
		Seed: 1<<63 + 5, Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	w.RowGroupTokens = groupTokens
	for i := range seqs {
		if err := w.Write(&seqs[i]); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestShardRoundTrip(t *testing.T) {
	dir := t.TempDir()
	var seqs []Sequence
	st, err := Pack(randomDocs(300, 90, 3), PackOptions{Strategy: PackBFDSplit, SequenceLength: 32, IsolateDocuments: true},
		func(s Sequence) error {
			if len(seqs)%3 == 0 {
				s.Key = "k" + s.DocIDs[0]
			}
			seqs = append(seqs, s)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(dir, "a.parquet")
	info := writeShard(t, p, seqs, 1000)
	if info.Rows != int64(len(seqs)) || info.Tokens != st.Tokens || len(info.RowGroups) < 10 {
		t.Fatalf("%+v", info)
	}
	s, err := OpenShard(p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if m := s.Meta(); m.SequenceLength != 32 || m.Seed != 1<<63+5 || m.TokenizerHash != "th" || !m.IsolateDocuments ||
		m.Packing != PackBFD {
		t.Fatalf("%+v", m)
	}
	if s.NumRows() != info.Rows || s.NumRowGroups() != len(info.RowGroups) {
		t.Fatalf("%d rows, %d groups", s.NumRows(), s.NumRowGroups())
	}
	var got []Sequence
	for i := range s.NumRowGroups() {
		rows, err := s.ReadRowGroup(i)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(rows)) != info.RowGroups[i].Rows {
			t.Fatalf("group %d: %d rows", i, len(rows))
		}
		got = append(got, rows...)
	}
	for i := range seqs {
		if !reflect.DeepEqual(seqs[i], got[i]) {
			t.Fatalf("row %d\nwrote %+v\nread  %+v", i, seqs[i], got[i])
		}
	}
	for _, threads := range []int{1, 3} {
		before := runtime.GOMAXPROCS(threads)
		again := writeShard(t, filepath.Join(dir, "b.parquet"), seqs, 1000)
		runtime.GOMAXPROCS(before)
		if again.SHA256 != info.SHA256 {
			t.Fatal("the same sequences gave other bytes")
		}
	}
}

// TestShardGroupsAreTakenOver: the pages of row groups that were encoded apart are those of one writer.
func TestShardGroupsAreTakenOver(t *testing.T) {
	var rows []shardRow
	for i := range 500 {
		rows = append(rows, shardRow{InputIDs: []int32{int32(i), 7, int32(i * i)}, Labels: []int32{NoLoss, 7, 9}, DocStarts: []int32{0},
			DocIDs: []string{"a"}, DocSpans: []shardSpan{{0, 3}}, Sources: []string{"s"}})
	}
	var one, apart bytes.Buffer
	w, v := parquet.NewGenericWriter[shardRow](&one, writerOptions()...), parquet.NewGenericWriter[shardRow](&apart, writerOptions()...)
	for at := 0; at < len(rows); at += 125 {
		if _, err := w.Write(rows[at : at+125]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		g := encodeGroup(rows[at : at+125])
		if <-g.done; g.err != nil {
			t.Fatal(g.err)
		}
		if _, err := v.WriteRowGroup(g.rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), apart.Bytes()) {
		t.Fatalf("%d bytes by one writer, %d by several, or others", one.Len(), apart.Len())
	}
}

func TestShardErrors(t *testing.T) {
	dir := t.TempDir()
	w, err := CreateShard(filepath.Join(dir, "x.parquet"), ShardMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Sequence{InputIDs: []int32{1, 2}, Labels: []int32{1}, DocStarts: []int32{0}}); err == nil {
		t.Fatal("a row with too few labels was written")
	}
	w.Abort()
	if es, _ := os.ReadDir(dir); len(es) != 0 {
		t.Fatalf("left behind: %v", es)
	}
	type noLabels struct {
		InputIDs []int32 `parquet:"input_ids,list"`
	}
	type text struct {
		InputIDs string  `parquet:"input_ids"`
		Labels   []int32 `parquet:"labels,list"`
	}
	for name, c := range map[string]struct {
		write func(*bytes.Buffer) error
		want  string
	}{
		"no labels": {func(b *bytes.Buffer) error { return parquet.Write(b, []noLabels{{[]int32{1}}}) }, `"labels"`},
		"string":    {func(b *bytes.Buffer) error { return parquet.Write(b, []text{{"a", nil}}) }, `"input_ids"`},
		"garbage":   {func(b *bytes.Buffer) error { b.WriteString("PAR1 no parquet at all"); return nil }, "shard"},
		"empty":     {func(b *bytes.Buffer) error { return nil }, "shard"},
	} {
		var b bytes.Buffer
		if err := c.write(&b); err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(dir, "bad.parquet")
		os.WriteFile(p, b.Bytes(), 0o644)
		if _, err := OpenShard(p); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bad.parquet") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShardDamage flips every 37th byte: an error or other numbers, never a panic.
func TestShardDamage(t *testing.T) {
	dir := t.TempDir()
	var seqs []Sequence
	Pack(randomDocs(20, 40, 3), PackOptions{Strategy: PackBFDSplit, SequenceLength: 32, IsolateDocuments: true},
		func(s Sequence) error { seqs = append(seqs, s); return nil })
	p := filepath.Join(dir, "a.parquet")
	writeShard(t, p, seqs, 200)
	good, _ := os.ReadFile(p)
	for at := 0; at < len(good); at += 37 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x55
		os.WriteFile(p, bad, 0o644)
		s, err := OpenShard(p)
		if err != nil {
			continue
		}
		for i := range s.NumRowGroups() {
			s.ReadRowGroup(i)
		}
		s.Close()
	}
}

func BenchmarkShardRead(b *testing.B) {
	docs := make([]Doc, 500)
	for i := range docs {
		docs[i] = Doc{ID: DocID("f", int64(i)), Tokens: make([]int32, 1024)}
		for k := range docs[i].Tokens {
			docs[i].Tokens[k] = int32((k*k*7919 + i*31) % 32000)
		}
	}
	var seqs []Sequence
	Pack(docs, PackOptions{Strategy: PackBFDSplit, SequenceLength: 512, IsolateDocuments: true},
		func(s Sequence) error { seqs = append(seqs, s); return nil })
	p := filepath.Join(b.TempDir(), "a.parquet")
	info := writeShard(b, p, seqs, DefaultRowGroupTokens)
	b.ResetTimer()
	for range b.N {
		s, _ := OpenShard(p)
		for i := range s.NumRowGroups() {
			if _, err := s.ReadRowGroup(i); err != nil {
				b.Fatal(err)
			}
		}
		s.Close()
	}
	b.ReportMetric(float64(info.Tokens)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtok/s")
}
