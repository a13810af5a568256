package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding is how the characters of a text file are written.
type encoding struct {
	name string
	mark []byte // the byte order mark
	unit int    // bytes of a code unit
	big  bool   // the most significant byte of a unit comes first
}

// encodings in the order in which marks are looked for: that of UTF-32LE begins with UTF-16LE's.
var encodings = []encoding{
	{"utf-32le", []byte("\xff\xfe\x00\x00"), 4, false},
	{"utf-32be", []byte("\x00\x00\xfe\xff"), 4, true},
	{"utf-16le", []byte("\xff\xfe"), 2, false},
	{"utf-16be", []byte("\xfe\xff"), 2, true},
}

var utf8Encoding = &encoding{name: "utf-8", mark: bom, unit: 1}

// sniffEncoding says how the beginning of a file is written: by its mark, or without one by where its NUL bytes stand.
func sniffEncoding(head []byte) *encoding {
	for i := range encodings {
		e := &encodings[i]
		if _, ok := e.looks(head); bytes.HasPrefix(head, e.mark) && (e.unit == 2 || ok) {
			return e
		}
	}
	best, most := utf8Encoding, 0
	if bytes.IndexByte(head, 0) >= 0 {
		for i := range encodings {
			if low, ok := encodings[i].looks(head); ok && low > most {
				best, most = &encodings[i], low
			}
		}
	}
	return best
}

func (e *encoding) at(b []byte) rune {
	switch {
	case e.unit == 2 && e.big:
		return rune(binary.BigEndian.Uint16(b))
	case e.unit == 2:
		return rune(binary.LittleEndian.Uint16(b))
	case e.big:
		return rune(binary.BigEndian.Uint32(b))
	}
	return rune(binary.LittleEndian.Uint32(b))
}

// looks reports whether bytes with NULs among them are text in this encoding rather than UTF-8 with NULs in it, and how many of its units,
// weighed by their size, are below 256. All units are characters that texts have. And the bytes are not text of UTF-8: the high bytes of
// half of the units are zero or one other value, as a script has it, or a quarter of all bytes is nothing that UTF-8 has.
func (e *encoding) looks(head []byte) (low int, ok bool) {
	n := len(head) / e.unit
	if n == 0 {
		return 0, false
	}
	high := rune(0) // a surrogate before its other half
	var pages [256]int
	for i := range n {
		c := e.at(head[i*e.unit:])
		switch {
		case high != 0 && (c < 0xdc00 || c > 0xdfff):
			return 0, false
		case high != 0:
			high = 0
			continue
		case e.unit == 2 && c >= 0xd800 && c < 0xdc00:
			high = c
			continue
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f', c > utf8.MaxRune, c < 0, c >= 0xd800 && c < 0xe000,
			c&0xfffe == 0xfffe:
			return 0, false
		}
		pages[c>>8&0xff]++
	}
	low = pages[0] * e.unit
	return low, e.unit == 4 || 2*(pages[0]+slices.Max(pages[1:])) >= n || 4*noText(head) >= len(head)
}

// noText counts the bytes that are not text of UTF-8: parts of no character, and control characters but NUL.
func noText(b []byte) (n int) {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || r > 0 && r < 0x20 && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != 0x1b ||
			r == 0x7f {
			n++
		}
		b = b[size:]
	}
	return n
}

// unicodeReader decodes to UTF-8. A unit that is not a character becomes a byte that is not UTF-8, so that the record which has it is
// rejected for it.
type unicodeReader struct {
	r    io.Reader
	e    *encoding
	in   []byte // read, not decoded
	out  []byte // decoded, not returned
	buf  []byte
	high rune // a surrogate that waits for its other half
	err  error
}

func newUnicodeReader(r io.Reader, e *encoding) *unicodeReader {
	return &unicodeReader{r: r, e: e, buf: make([]byte, 32<<10)}
}

const noCharacter = 0xff

// Read implements io.Reader.
func (u *unicodeReader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		left := copy(u.buf, u.in)
		n, err := u.r.Read(u.buf[left:])
		u.in = u.buf[:left+n]
		u.out = u.decode(u.out[:0])
		if u.err = err; errors.Is(err, io.EOF) && (len(u.in) > 0 || u.high != 0) {
			u.out = append(u.out, noCharacter)
			u.in, u.high = nil, 0
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *unicodeReader) decode(out []byte) []byte {
	for ; len(u.in) >= u.e.unit; u.in = u.in[u.e.unit:] {
		c := u.e.at(u.in)
		if u.high != 0 {
			full := utf16.DecodeRune(u.high, c)
			u.high = 0
			if full != utf8.RuneError {
				out = utf8.AppendRune(out, full)
				continue
			}
			out = append(out, noCharacter)
		}
		switch {
		case u.e.unit == 2 && c >= 0xd800 && c < 0xdc00:
			u.high = c
		case !utf8.ValidRune(c):
			out = append(out, noCharacter)
		default:
			out = utf8.AppendRune(out, c)
		}
	}
	return out
}
