package datasets

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// csvCase is a file and what Python's csv module reads of it: testdata/csv/make.py.
type csvCase struct {
	Name, Delimiter, Content string
	Rows                     [][]string // with the header
}

// TestGoldenCSV: rows are those of Python's csv, but for rows in which that loses text, which are rejected with their lines whole.
func TestGoldenCSV(t *testing.T) {
	raw, err := os.ReadFile("testdata/csv/python_csv.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []csvCase
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 15 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		for _, how := range []string{"", "gz", "utf-16"} {
			content, name := []byte(c.Content), "a.csv"
			switch how {
			case "gz":
				var z bytes.Buffer
				w := gzip.NewWriter(&z)
				w.Write(content)
				w.Close()
				content, name = z.Bytes(), "a.csv.gz"
			case "utf-16":
				content = encodeAs(&encodings[2], c.Content, true)
			}
			recs, rejects, _ := readContent(t, name, string(content), Options{Delimiter: c.Delimiter})
			var got [][]string
			for _, r := range recs {
				got = append(got, []string{r.Text, r.URL})
			}
			var want [][]string
			for _, r := range c.Rows[1:] {
				want = append(want, r[:2])
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			if string(a) != string(b) || len(rejects) > 0 {
				t.Errorf("%s %s: %s, Python reads %s; %+v", c.Name, how, a, b, rejects)
			}
		}
	}
}

// TestCSVRejects: what is not read names its line and is kept as it stands, and nothing beside it is lost.
func TestCSVRejects(t *testing.T) {
	for _, c := range []struct{ name, content, texts, records, values string }{
		{"a.csv", "text,id\n\"Stop,\" he said.,1\nb,2\n", "b", "\"Stop,\" he said.,1",
			"line 2: text follows the closing quotation mark of field 1"},
		{"a.csv", "text,id\na,1\n\"never closed,2\nc,3\nd,4\n", "a c d", "\"never closed,2",
			"line 3: a quotation mark opens field 1 and none closes it"},
		{"a.csv", "text,id\r\na,1\r\nx,\"never\r\n\r\nc,3\r\n", "a c", "x,\"never",
			"line 3: a quotation mark opens field 2 and none closes it"},
		{"a.csv", "text,id\n\"two\r\nlines\",1,more\nb,2", "b", "\"two\r\nlines\",1,more", "line 2: 3 fields"},
		{"a.csv", "text,id\n\"two\nlines\",1\nshort\nb,2", "two\nlines b", "short", "line 4: 1 fields"},
		{"a.csv", "text,id\n" + strings.Repeat("x", 200) + ",1\n" + "\"" + strings.Repeat("y\n", 100) + "\",2\nb,3\n", "b",
			strings.Repeat("x", 102) + "|\"" + strings.Repeat("y\n", 50) + "y", "line 2: 203 bytes|line 3: 205 bytes"},
		{"a.csv", "text,id\na,1\n\"" + strings.Repeat("y\n", 100), "a", "\"" + strings.Repeat("y\n", 50) + "y",
			"line 3: a quotation mark is never closed, so that this is all the rest of the file: 201 bytes"},
		{"a.tsv", "text\tid\n\"a\tb\tc\nd\t1\n", "d", "\"a\tb\tc", "line 2: 3 fields"},
	} {
		recs, rejects, _ := readContent(t, c.name, c.content, Options{MaxRecordBytes: 100})
		var texts, records, values []string
		for _, r := range recs {
			texts = append(texts, r.Text)
		}
		for _, r := range rejects {
			records, values = append(records, string(r.Record)), append(values, r.Value)
		}
		if strings.Join(texts, " ") != c.texts || strings.Join(records, "|") != c.records || strings.Join(values, "|") != c.values {
			t.Errorf("%q: kept %q, rejected %q, %q", c.content, texts, records, values)
		}
	}
}

// TestCSVLayouts: the format and delimiter that are found, and told, and what settings say instead.
func TestCSVLayouts(t *testing.T) {
	for _, c := range []struct {
		name, content, layout, texts string
		o                            Options
	}{
		{"a.csv", "id;text\n1;a, b\n2;\"c; d\"\n", `csv with delimiter ';'/plain`, "a, b|c; d", Options{}},
		{"a.csv", "id|text\n1|a, b\n", `csv with delimiter '|'/plain`, "a, b", Options{}},
		{"a.csv", "id\ttext\n1\ta, b\n", `csv with delimiter '\t'/plain`, "a, b", Options{}},
		{"a.csv", "\ufefftext\na;b\n", `csv/plain`, "a;b", Options{}},
		{"a.csv", "\"a, b, c\";text\n1;x\n", `csv with delimiter ';'/plain`, "x", Options{}},
		{"a.csv", "a,b;text\n1;x\n", `csv with delimiter ';'/plain`, "x", Options{}},
		{"a.csv", "sep=;\r\ntext;b,c,d\r\nx;1\r\n", `csv with delimiter ';'/plain`, "x", Options{}},
		{"a.csv", "text;b\nx;1\n", `csv/plain`, "", Options{Delimiter: ","}},
		{"a.csv", "text§b\nx§1\n", `csv with delimiter '§'/plain`, "x", Options{Delimiter: "§"}},
		{"a.csv", "text\rx\r\"y\rz\"\r", `csv/plain`, "x|y\rz", Options{}},
		{"a.csv", "", `csv/`, "", Options{}},
		{"a.csv", "text,text\nx,y\n", `csv/plain`, "x", Options{}},
		{"a.tsv", "text\tb\n\"x\ty\n\"z\"\tw\n", `tsv/plain`, "\"x|\"z\"", Options{}},
		{"a.tsv", "text\n\"x\n\ny, z\"\n", `tsv/plain`, "\"x|y, z\"", Options{}},
		{"a.tab", "text\tb\r\nx \ty\r\n", `tsv/plain`, "x ", Options{}},
		{"a.tsv", "\"text\"\t\"b\"\n\"x\ty\"\t\"z\"\n", `csv with delimiter '\t'/plain`, "x\ty", Options{}},
		{"a.tsv", "text|b\nx|\"y\n", `tsv with delimiter '|'/plain`, "x", Options{Delimiter: "|"}},
		{"a.tsv", "text\tb\n\"x\ty\"\tz\n", `csv with delimiter '\t'/plain`, "x\ty", Options{Format: FormatCSV, Delimiter: `\t`}},
		{"a.txt", "text\tb\n\"x\ty\n", `tsv/plain`, "\"x", Options{Format: FormatTSV}},
	} {
		recs, _, layout := readContent(t, c.name, c.content, c.o)
		var texts []string
		for _, r := range recs {
			texts = append(texts, r.Text)
		}
		if layout != c.layout && !(len(recs) == 0 && strings.HasPrefix(layout, c.layout[:4])) || strings.Join(texts, "|") != c.texts {
			t.Errorf("%q: %s, %q", c.content, layout, texts)
		}
	}
	for _, d := range []string{",,", "\"", "\n", "\xff", "\x00"} {
		if (Options{Delimiter: d}).Validate() == nil {
			t.Errorf("delimiter %q is taken", d)
		}
	}
}

// TestFaultFiles reads the inputs of the faults B01, B05, B12 and B21.
func TestFaultFiles(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		texts []string
	}{
		{"pairs.tsv", Options{Translation: []string{"en", "de"}},
			[]string{"\"Stop,\" he said.\n\"Halt,\" sagte er.", "I see a dog.\nIch sehe einen Hund.", "He said \"yes\"\nEr sagte ja",
				"Good night.\nGute Nacht."}},
		{"mark.json", Options{}, []string{"aa bb", "cc dd"}},
		{"quotes.csv", Options{}, []string{"line one\r\nline two", `he said "hi" there`}},
	} {
		content, err := os.ReadFile(filepath.Join("testdata/faults", c.name))
		if err != nil {
			t.Fatal(err)
		}
		recs, rejects, _ := readContent(t, c.name, string(content), c.o)
		var texts []string
		for i, r := range recs {
			texts = append(texts, r.Text)
			if r.Index != int64(i) {
				t.Errorf("%s: record %d is called %d", c.name, i, r.Index)
			}
		}
		if strings.Join(texts, "|") != strings.Join(c.texts, "|") || len(rejects) > 0 {
			t.Errorf("%s: %q %+v", c.name, texts, rejects)
		}
	}
}
