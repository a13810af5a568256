package datasets

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// pythonRows cuts rows as Python's csv does; ok is false where text is lost in that, by characters after a closing mark or a mark that is
// never closed.
func pythonRows(s string) (rows [][]string, ok bool) {
	ok = true
	var row []string
	field, state := "", fieldStart
	end := func() {
		if len(row) > 0 || state != fieldStart {
			rows = append(rows, append(row, field))
		}
		row, field, state = nil, "", fieldStart
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		lineEnd := c == '\n' || c == '\r' && (i+1 == len(s) || s[i+1] == '\n')
		switch {
		case state == inQuotes && c == '"':
			state = quoteInQuotes
		case state == inQuotes:
			field += s[i : i+1]
		case lineEnd:
			if c == '\r' {
				i++
			}
			end()
		case c == ',':
			row, field, state = append(row, field), "", fieldStart
		case c == '"' && state == fieldStart:
			state = inQuotes
		case c == '"' && state == quoteInQuotes:
			field, state = field+`"`, inQuotes
		default:
			ok = ok && state != quoteInQuotes
			field, state = field+s[i:i+1], inField
		}
	}
	ok = ok && state != inQuotes
	end()
	return rows, ok
}

// FuzzFieldScanner: rows are those of Python's csv where that loses nothing, and no byte of the file is in no row, whatever the file and
// the buffer's size.
func FuzzFieldScanner(f *testing.F) {
	for _, s := range []string{"a,b\n", "\"a\"\"b\",c\r\n\r\nd\r", "\"a\nb\n", "\"a\" b,c\nd\n", "a\"b,\"\n\n\",",
		strings.Repeat("x", 40) + ",\"" + strings.Repeat("y\r\n", 20) + "\"\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 { // the simple reader above takes quadratic time
			return
		}
		want, ok := pythonRows(s)
		for _, max := range []int{1 << 20, 24} {
			sc := &fieldScanner{b: bufio.NewReaderSize(strings.NewReader(s), 16), comma: ',', quoted: true, end: '\n', max: max}
			var got [][]string
			raw := 0
			for {
				err := sc.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if sc.size > int64(max) {
					continue
				}
				var row []string
				for _, x := range sc.fields {
					row = append(row, string(x))
				}
				got = append(got, row)
				raw += len(bytes.Trim(bytes.ReplaceAll(sc.raw, []byte("\n"), nil), "\r"))
				if sc.fault != "" && len(sc.fields) > 0 {
					t.Fatalf("%q: a row with a fault has fields", s)
				}
			}
			if max == 24 {
				continue
			}
			if ok && len(got) != len(want) {
				t.Fatalf("%q: %q, Python %q", s, got, want)
			}
			for i := range got {
				if ok && strings.Join(got[i], "\x00") != strings.Join(want[i], "\x00") {
					t.Fatalf("%q: %q, Python %q", s, got, want)
				}
			}
			if n := len(strings.NewReplacer("\n", "", "\r", "").Replace(s)); raw < n {
				t.Fatalf("%q: %d bytes in rows of %d", s, raw, n)
			}
		}
	})
}
