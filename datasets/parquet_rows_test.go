package datasets

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
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

// TestRowOfDamage: a row in which a column's values are missing, or are of another type, is an error; the library would read the next
// column's in its place, as text of a length without bytes.
func TestRowOfDamage(t *testing.T) {
	leaves := []leaf{{"prompt", parquet.ByteArray}, {"tags.list.element", parquet.ByteArray}, {"good", parquet.Boolean}}
	text := func(c int) parquet.Value { return parquet.ByteArrayValue([]byte("a")).Level(0, 1, c) }
	null := func(c int) parquet.Value { return parquet.NullValue().Level(0, 0, c) }
	yes := parquet.BooleanValue(true).Level(0, 1, 2)
	for name, c := range map[string]struct {
		row  parquet.Row
		want string
	}{
		"whole":            {parquet.Row{text(0), text(1), text(1), yes}, ""},
		"nulls":            {parquet.Row{null(0), null(1), null(2)}, ""},
		"without a middle": {parquet.Row{text(0), yes}, "a row without values of column tags.list.element"},
		"without an end":   {parquet.Row{text(0), text(1)}, "a row without values of column good"},
		"without any":      {nil, "a row without values of column prompt"},
		"of another type": {parquet.Row{parquet.BooleanValue(true).Level(0, 1, 0), text(1), yes},
			"a value of type BOOLEAN in column prompt, which is of BYTE_ARRAY"},
		"of another file": {parquet.Row{text(0), text(1), yes, text(3)}, "a value of column 3 behind those of column 2 of 3"},
	} {
		got := ""
		if err := checkRow(c.row, leaves); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
