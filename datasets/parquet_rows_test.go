package datasets

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestParquetRows: nested messages and columns of prompts are rows as those of JSONL, whoever named the levels of a list; what is missing
// is rejected with the row's number.
func TestParquetRows(t *testing.T) {
	for _, c := range []struct {
		file, kind string
		o          Options
		rows       []string // "-" for a rejected one
	}{
		{"dirty/chat_nested.parquet", RowMessages, Options{},
			[]string{"Hello\nHi, how can I help?", "Be brief.\nWhat is LoRA?\nA low-rank update of frozen weights."}},
		{"chat_item.parquet", RowMessages, Options{}, []string{"grüße\nho", "-", "-", "-"}},
		{"prompts.parquet", RowPromptCompletion, Options{RowKind: RowPromptCompletion}, []string{"hi\nho", "-"}},
	} {
		r, err := Open(filepath.Join("testdata", c.file), c.file, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for n := int64(0); ; n++ {
			rec, rej, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case rej != nil:
				if rej.Reason != ReasonWrongRow || rej.Index != n {
					t.Errorf("%s: %+v", c.file, rej)
				}
				got = append(got, "-")
			case rec.Index != n || rec.Source != c.file || !strings.Contains(rec.Row, c.kind):
				t.Errorf("%s: %+v", c.file, rec)
			default:
				got = append(got, rec.Text)
			}
		}
		if !slices.Equal(got, c.rows) {
			t.Errorf("%s: %q", c.file, got)
		}
		if format, kind := r.Layout(); format != FormatParquet || kind != c.kind {
			t.Errorf("%s is %s, %s", c.file, format, kind)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
