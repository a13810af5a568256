package datasets

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
)

// encodeAs writes a text in an encoding.
func encodeAs(e *encoding, text string, mark bool) []byte {
	var out []byte
	if mark {
		out = append(out, e.mark...)
	}
	var order binary.AppendByteOrder = binary.LittleEndian
	if e.big {
		order = binary.BigEndian
	}
	if e.unit == 2 {
		for _, u := range utf16.Encode([]rune(text)) {
			out = order.AppendUint16(out, u)
		}
		return out
	}
	for _, r := range text {
		out = order.AppendUint32(out, uint32(r))
	}
	return out
}

// TestEncodings: UTF-16 and UTF-32 with and without a mark are read as the same text in UTF-8, in every format, and the encoding is
// reported.
func TestEncodings(t *testing.T) {
	languages := []string{"This is a line, number 7.", "Это строка текста, номер семь.", "これは一行の文章です。番号は七 です。", "Αυτή είναι μια γραμμή.",
		"यह पाठ की एक पंक्ति है।", "emoji 😀 and text"}
	for _, l := range languages {
		for name, content := range map[string]string{
			"a.txt": l + "\n" + l + " x\r\n", "a.text": l + "\n" + l + " x", "a": l + "\n" + l + " x\n",
			"a.jsonl": fmt.Sprintf("{\"text\": %q}\n{\"text\": \"%s x\"}\n", l, l),
			"a.json":  fmt.Sprintf("[{\"text\": %q},\n{\"text\": \"%s x\"}]\n", l, l),
			"a.csv":   fmt.Sprintf("id;text\n1;\"%s\"\n2;%s x\n", l, l), "a.tsv": fmt.Sprintf("id\ttext\r\n1\t%s\r\n2\t%s x\r\n", l, l),
		} {
			for i := range encodings {
				for _, mark := range []bool{true, false} {
					e := &encodings[i]
					recs, rejects, layout := readContent(t, name, string(encodeAs(e, strings.Repeat(content, 1), mark)), Options{})
					if len(recs) != 2 || recs[0].Text != l || recs[1].Text != l+" x" || len(rejects) > 0 ||
						!strings.Contains(layout, " in "+e.name) {
						t.Errorf("%s, %s, mark %v: %+v %+v %s", name, e.name, mark, recs, rejects, layout)
					}
				}
			}
			if recs, rejects, layout := readContent(t, name, "\ufeff"+content, Options{}); len(recs) != 2 || recs[0].Text != l ||
				len(rejects) > 0 || strings.Contains(layout, " in ") {
				t.Errorf("%s, UTF-8 with a mark: %+v %+v %s", name, recs, rejects, layout)
			}
		}
	}
	for _, mode := range []string{TextParagraph, TextFile} {
		if recs, _, _ := readContent(t, "a.txt", string(encodeAs(&encodings[2], "a\nb", true)), Options{TextMode: mode}); len(recs) != 1 ||
			recs[0].Text != "a\nb" {
			t.Errorf("%s: %+v", mode, recs)
		}
	}
}

// TestEncodingB05 reads the file of fault B05 with and without its mark, and as big-endian.
func TestEncodingB05(t *testing.T) {
	content, err := os.ReadFile("testdata/faults/utf16.txt")
	if err != nil {
		t.Fatal(err)
	}
	swapped := bytes.Clone(content)
	for i := 0; i+1 < len(swapped); i += 2 {
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	for _, b := range [][]byte{content, content[2:], swapped, swapped[2:]} {
		recs, rejects, _ := readContent(t, "in.txt", string(b), Options{})
		if len(recs) != 30 || len(rejects) > 0 || !strings.HasPrefix(recs[29].Text, "This is line number 29 of") {
			t.Errorf("%d kept, %+v: %q", len(recs), rejects, recs[len(recs)-1].Text)
		}
	}
}

// TestEncodingFaults: what is not a character is a fault of its record, and UTF-8 with stray NULs is not taken for UTF-16.
func TestEncodingFaults(t *testing.T) {
	le := &encodings[2]
	bad := append(encodeAs(le, "good one\nbad ", true), 0x00, 0xd8)
	bad = append(bad, encodeAs(le, " half\ngood two\n", false)...)
	for _, c := range []struct {
		content, texts string
		rejects        int
	}{
		{string(bad), "good one|good two", 1},
		{string(encodeAs(le, "good one\nend", true)) + "x", "good one", 1},
		{"ab\x00cd\nan ordinary line\n", "ab\x00cd|an ordinary line", 0},
		{"n\x00\nwith one\n", "n\x00|with one", 0},
		{"an ordinary line\n" + strings.Repeat("0\x00", 40) + "\n" + strings.Repeat("a line of text that goes on\n", 8), "", 0},
	} {
		recs, rejects, layout := readContent(t, "a.txt", c.content, Options{})
		var texts []string
		for _, r := range recs {
			texts = append(texts, r.Text)
		}
		if c.texts != "" && strings.Join(texts, "|") != c.texts || len(rejects) != c.rejects || c.texts == "" && layout != "text/plain" {
			t.Errorf("%q: %q %+v %s", c.content, texts, rejects, layout)
		}
	}
}
