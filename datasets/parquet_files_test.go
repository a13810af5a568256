package datasets

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// pyarrowFiles are the files that interop/golden/parquet_files.py wrote.
func pyarrowFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "pages", "*.parquet"))
	if err != nil || len(files) < 30 {
		t.Fatal(files, err)
	}
	return files
}

// TestParquetOfPyarrow: rows of files by pyarrow, with each encoding, codec and version of data pages, are those that it wrote.
func TestParquetOfPyarrow(t *testing.T) {
	var want struct{ Prompt, Completion []*string }
	b, err := os.ReadFile(filepath.Join("testdata", "pages", "rows.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for _, file := range pyarrowFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, o := range []Options{{RowKind: RowPromptCompletion},
				{RowKind: RowPlain, TextColumn: "completion", KeyColumn: "prompt"}} {
				r, err := Open(file, file, o)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for ; ; n++ {
					rec, rej, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil || rej != nil && (rej.Reason == ReasonCorruptFile || rej.Reason == ReasonTruncatedFile) {
						t.Fatal(rej, err)
					}
					if strings.HasSuffix(file, "_runs.parquet") {
						if rej != nil || o.RowKind == RowPromptCompletion && rec.Text != "same\nalso" ||
							o.RowKind == RowPlain && (rec.Text != "also" || rec.Key != "same") {
							t.Fatal(n, rec, rej)
						}
						continue
					}
					prompt, completion := want.Prompt[n], *want.Completion[n]
					switch {
					case rej != nil:
						if prompt != nil && completion != "" {
							t.Fatalf("row %d: %+v", n, rej)
						}
					case o.RowKind == RowPlain && (rec.Text != completion || prompt != nil && rec.Key != *prompt),
						o.RowKind == RowPromptCompletion && (prompt == nil || rec.Text != *prompt+"\n"+completion):
						t.Fatalf("row %d: %+v", n, rec)
					}
				}
				rows := len(want.Prompt)
				switch {
				case strings.HasSuffix(file, "_runs.parquet"):
					rows = 70000
				case strings.HasSuffix(file, "_empty.parquet"):
					rows = 0
				}
				if n != rows {
					t.Errorf("%d rows", n)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// valuesOf reads all values of all columns.
func valuesOf(t *testing.T, f *parquet.File) (out []parquet.Value) {
	t.Helper()
	for _, rg := range f.RowGroups() {
		for _, c := range rg.ColumnChunks() {
			r := parquet.NewColumnChunkValueReader(c)
			var buf [100]parquet.Value
			for {
				n, err := r.ReadValues(buf[:])
				for _, v := range buf[:n] {
					out = append(out, v.Clone())
				}
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// TestPagesAreTheDecoders: each value of each column, with its levels, is what the decoder reads of the file itself; pages are
// found again in any order.
func TestPagesAreTheDecoders(t *testing.T) {
	files := pyarrowFiles(t)
	more, err := filepath.Glob(filepath.Join("testdata", "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, more...) {
		r, err := storage.OpenReaderAt(file)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		plain, err := openOwnParquet(r)
		if err != nil {
			t.Fatal(err)
		}
		guarded, err := openParquet(r)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for range 2 {
			a, b := valuesOf(t, plain), valuesOf(t, guarded)
			if len(a) != len(b) {
				t.Fatalf("%s: %d values, the decoder reads %d", file, len(b), len(a))
			}
			for i := range a {
				if !parquet.DeepEqual(a[i], b[i]) {
					t.Fatalf("%s: value %d is %v, the decoder reads %v", file, i, b[i], a[i])
				}
			}
		}
		footer, err := checkFooter(r)
		if err != nil {
			t.Fatal(err)
		}
		g, err := newPageFile(r, footer)
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range g.chunks {
			all, err := io.ReadAll(io.NewSectionReader(g, 4+window*int64(i), window))
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if len(all) == 0 {
					break
				}
				at := rnd.IntN(len(all))
				b := make([]byte, rnd.IntN(len(all)-at)+1)
				if n, err := g.ReadAt(b, 4+window*int64(i)+int64(at)); n != len(b) || err != nil || string(b) != string(all[at:at+n]) {
					t.Fatalf("%s: %d bytes from byte %d on of column %d: %d, %v", file, len(b), at, i, n, err)
				}
			}
		}
	}
}

// TestDamagedPages: a file of which bytes were changed is read or refused, without a panic and without memory out of proportion.
func TestDamagedPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "damaged.parquet")
	for i, file := range pyarrowFiles(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(uint64(i), 7))
		for range 40 {
			bad := append([]byte(nil), raw...)
			for range 1 + rnd.IntN(4) {
				at := rnd.IntN(len(bad) - 12)
				if rnd.IntN(2) == 0 {
					at = rnd.IntN(len(bad) / 2)
				}
				bad[at] = byte(rnd.IntN(256))
			}
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := readLiesOf(path, Options{RowKind: RowPromptCompletion})
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 512<<20 {
				t.Errorf("%s: %d MiB were taken for a file of %d bytes: %v", file, took>>20, len(bad), err)
			}
			if err != nil && (!strings.Contains(err.Error(), "damaged.parquet") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %.1000v", file, err)
			}
		}
	}
}
