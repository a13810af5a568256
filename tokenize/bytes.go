package tokenize

import (
	"unicode/utf8"
)

// byteRune is GPT-2's spelling of a byte as a printable character; runeByte is
// its inverse (-1 where a character spells no byte).
var byteRune, runeByte = func() (br [256]rune, rb [324]int16) {
	for i := range rb {
		rb[i] = -1
	}
	n := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= 0x21 && b <= 0x7e || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = n
			n++
		}
		br[b] = r
		rb[r] = int16(b)
	}
	return
}()

// unmapBytes is the bytes that a byte-level token spells; false when some
// character of it spells no byte.
func unmapBytes(tok string) (string, bool) {
	out := make([]byte, 0, len(tok))
	for _, r := range tok {
		if int(r) >= len(runeByte) || runeByte[r] < 0 {
			return "", false
		}
		out = append(out, byte(runeByte[r]))
	}
	return string(out), true
}

// mapBytes is the byte-level spelling of s.
func mapBytes(s string) string {
	out := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		out = utf8.AppendRune(out, byteRune[s[i]])
	}
	return string(out)
}

// appendLossy appends b to dst, with U+FFFD for each maximal part of an
// ill-formed sequence, as Rust's String::from_utf8_lossy does (Unicode 3.9,
// "substitution of maximal subparts").
func appendLossy(dst []byte, b []byte) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			dst = append(dst, b[0])
			b = b[1:]
			continue
		}
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			dst = append(dst, b[:n]...)
			b = b[n:]
			continue
		}
		dst = append(dst, "\uFFFD"...)
		b = b[subpart(b):]
	}
	return dst
}

// subpart is the length of the maximal ill-formed part at the start of b.
func subpart(b []byte) int {
	lo, hi, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c == 0xE0:
		lo, need = 0xA0, 2
	case c == 0xED:
		hi, need = 0x9F, 2
	case c >= 0xE1 && c <= 0xEF:
		need = 2
	case c == 0xF0:
		lo, need = 0x90, 3
	case c == 0xF4:
		hi, need = 0x8F, 3
	case c >= 0xF1 && c <= 0xF3:
		need = 3
	}
	n := 1
	for n <= need && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}
