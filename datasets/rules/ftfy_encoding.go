package rules

import (
	_ "embed"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
	"golang.org/x/text/encoding/charmap"
)

// mojibakeData holds ftfy's expressions of unlikely sequences and of embedded UTF-8 (Apache-2.0, Robyn Speer); data/make_mojibake.py writes
// it.
//
//go:embed data/mojibake.txt
var mojibakeData string

var (
	unlikely *regexp.Regexp
	embedded *regexp2.Regexp
)

var loadMojibake = sync.OnceFunc(func() {
	lines := strings.Split(mojibakeData, "\n")
	unlikely = regexp.MustCompile(lines[1])
	embedded = regexp2.MustCompile(lines[2], regexp2.None)
})

func isBad(text string) bool { return unlikely.MatchString(text) }

// fixEncoding repeats one step until it changes nothing.
func (f *FTFY) fixEncoding(text string) string {
	for {
		next := f.step(text)
		if next == text {
			return text
		}
		text = next
	}
}

// codepage is a one-byte encoding; "sloppy" ones map unassigned bytes to the code point of the same number and the replacement character to
// 1A.
type codepage struct {
	name   string
	sloppy bool
	bytes  map[rune]byte
}

// codepages are tried in this order.
var codepages = sync.OnceValue(func() []codepage {
	out := []codepage{{name: "latin-1"}}
	out[0].bytes = map[rune]byte{}
	for b := 0x80; b < 0x100; b++ {
		out[0].bytes[rune(b)] = byte(b)
	}
	for _, c := range []struct {
		name   string
		sloppy bool
		m      *charmap.Charmap
	}{{"windows-1252", true, charmap.Windows1252}, {"windows-1251", true, charmap.Windows1251}, {"windows-1250", true, charmap.Windows1250},
		{"windows-1253", true, charmap.Windows1253}, {"windows-1254", true, charmap.Windows1254},
		{"windows-1257", true, charmap.Windows1257},
		{"iso-8859-2", false, charmap.ISO8859_2}, {"macroman", false, charmap.Macintosh}, {"cp437", false, charmap.CodePage437}} {
		p := codepage{c.name, c.sloppy, map[rune]byte{}}
		for b := 0x80; b < 0x100; b++ {
			r := c.m.DecodeByte(byte(b))
			if r == utf8.RuneError {
				r = rune(b)
			}
			p.bytes[r] = byte(b)
		}
		if c.sloppy {
			p.bytes[utf8.RuneError] = 0x1a
		}
		out = append(out, p)
	}
	return out
})

// encode is the text in the encoding; false if a character is not in it. Sloppy encodings have no 1A of their own.
func (p *codepage) encode(text string) ([]byte, bool) {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if r < 0x80 {
			if r == 0x1a && p.sloppy {
				return nil, false
			}
			out = append(out, byte(r))
			continue
		}
		b, ok := p.bytes[r]
		if !ok {
			return nil, false
		}
		out = append(out, b)
	}
	return out, true
}

// step is one repair: the text as bytes of the first encoding in which they are UTF-8; embedded UTF-8; control characters of Windows-1252.
func (f *FTFY) step(text string) string {
	ascii := true
	for i := 0; i < len(text) && ascii; i++ {
		ascii = text[i] < 0x80
	}
	if ascii || !isBad(text) {
		return text
	}
	latin1 := false
	pages := codepages()
	for i := range pages {
		p := &pages[i]
		b, ok := p.encode(text)
		if !ok {
			continue
		}
		latin1 = latin1 || i == 0
		if f.RestoreByteA0 && p.name != "macroman" {
			b = restoreA0(b)
		}
		if f.ReplaceLossySequences && p.sloppy {
			b = replaceLossy(b)
		}
		if s, ok := decodeVariants(b); ok {
			return s
		}
	}
	if f.DecodeInconsistentUTF8 {
		fixed, err := embedded.ReplaceFunc(text, func(m regexp2.Match) string {
			s := m.String()
			if len(s) < len(text) && isBad(s) {
				return NewFTFY().fixEncoding(s)
			}
			return s
		}, -1, -1)
		if err == nil && fixed != text {
			return fixed
		}
	}
	if latin1 {
		// Latin-1 with control characters was meant as Windows-1252.
		var b strings.Builder
		whole := true
		for _, r := range text {
			if r >= 0x80 && r < 0xa0 {
				c := charmap.Windows1252.DecodeByte(byte(r))
				whole = whole && c != r
				r = c
			}
			b.WriteRune(r)
		}
		if whole && b.String() != text {
			return b.String()
		}
	}
	if f.FixC1Controls {
		return fixC1(text)
	}
	return text
}

// fixC1 takes control characters above 7F as Windows-1252.
func fixC1(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 && r < 0xa0 {
			return charmap.Windows1252.DecodeByte(byte(r))
		}
		return r
	}, text)
}

// restoreA0 puts back bytes A0 that became spaces inside UTF-8 sequences.
func restoreA0(b []byte) []byte {
	cont := func(i int) bool { return i < len(b) && b[i] >= 0x80 && b[i] < 0xc0 }
	odd := func(i int) bool { return cont(i) && b[i] != 0x85 && b[i] != 0xa0 }
	sp := func(i int) bool { return i < len(b) && b[i] == ' ' }
	any := false
	for i := range b {
		if b[i] >= 0xc2 && (sp(i+1) || sp(i+2) || sp(i+3)) {
			any = true
			break
		}
	}
	if !any || !altered(b, cont, odd, sp) {
		return b
	}
	// "Ã la" is "à la": the space stays, except before the endings of Portuguese contractions.
	out := make([]byte, 0, len(b)+8)
	for i := 0; i < len(b); i++ {
		if b[i] == 0xc3 && sp(i+1) {
			rest := string(b[i+2 : min(len(b), i+7)])
			if !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "quele") && !strings.HasPrefix(rest, "quela") &&
				!strings.HasPrefix(rest, "quilo") && !strings.HasPrefix(rest, "s ") {
				out = append(out, 0xc3, 0xa0, ' ')
				i++
				continue
			}
		}
		out = append(out, b[i])
	}
	b = out
	for i := 0; i < len(b); {
		n := alteredAt(b, i, cont, odd, sp)
		for k := i; k < i+n; k++ {
			if b[k] == ' ' {
				b[k] = 0xa0
			}
		}
		i += max(n, 1)
	}
	return b
}

func altered(b []byte, cont, odd, sp func(int) bool) bool {
	for i := range b {
		if alteredAt(b, i, cont, odd, sp) > 0 {
			return true
		}
	}
	return false
}

// alteredAt is the length of a UTF-8 sequence at i one of whose bytes A0 is a space, and that is likely.
func alteredAt(b []byte, i int, cont, odd, sp func(int) bool) int {
	switch c := b[i]; {
	case (c == 0xc2 || c == 0xc3 || c == 0xc5 || c == 0xce || c == 0xd0 || c == 0xd9) && sp(i+1):
		return 2
	case (c == 0xe2 || c == 0xe3) && sp(i+1) && odd(i+2):
		return 3
	case c >= 0xe0 && c <= 0xe3 && odd(i+1) && sp(i+2):
		return 3
	case c == 0xf0 && (sp(i+1) && cont(i+2) && cont(i+3) || cont(i+1) && sp(i+2) && cont(i+3) || cont(i+1) && cont(i+2) && sp(i+3)):
		return 4
	}
	return 0
}

// lossy are UTF-8 and CESU-8 sequences whose bytes were lost to 1A or to a question mark; they become the replacement character. Bytes are
// written as the code points of the same number, since the expressions of Go are over UTF-8.
var lossy = regexp.MustCompile("[\u00c2-\u00df]\x1a|[\u00c2-\u00c3]\\?|\u00ed[\u00a0-\u00af][\x1a?]\u00ed[\u00b0-\u00bf][\x1a?\u0080-\u00bf]|" +
	"\u00ed[\u00a0-\u00af][\x1a?\u0080-\u00bf]\u00ed[\u00b0-\u00bf][\x1a?]|[\u00e0-\u00ef][\x1a?][\x1a\u0080-\u00bf]|[\u00e0-\u00ef][\x1a\u0080-\u00bf][\x1a?]|" +
	"[\u00f0-\u00f4][\x1a?][\x1a\u0080-\u00bf][\x1a\u0080-\u00bf]|[\u00f0-\u00f4][\x1a\u0080-\u00bf][\x1a?][\x1a\u0080-\u00bf]|" +
	"[\u00f0-\u00f4][\x1a\u0080-\u00bf][\x1a\u0080-\u00bf][\x1a?]|\x1a")

func replaceLossy(b []byte) []byte {
	if !strings.ContainsAny(string(b), "\x1a?") {
		return b
	}
	wide := make([]rune, len(b))
	for i, c := range b {
		wide[i] = rune(c)
	}
	s := lossy.ReplaceAllString(string(wide), "\u00ef\u00bf\u00bd")
	out := make([]byte, 0, len(b))
	for _, r := range s {
		out = append(out, byte(r))
	}
	return out
}

// decodeVariants decodes UTF-8, with CESU-8's surrogate pairs and Java's C0 80 for NUL.
func decodeVariants(b []byte) (string, bool) {
	if utf8.Valid(b) {
		return string(b), true
	}
	var out []byte
	for i := 0; i < len(b); {
		r, w := utf8.DecodeRune(b[i:])
		if r != utf8.RuneError || w > 1 {
			out = append(out, b[i:i+w]...)
			i += w
			continue
		}
		switch {
		case b[i] == 0xc0 && i+1 < len(b) && b[i+1] == 0x80:
			out = append(out, 0)
			i += 2
		case i+5 < len(b) && b[i] == 0xed && b[i+1]&0xf0 == 0xa0 && b[i+2]&0xc0 == 0x80 && b[i+3] == 0xed && b[i+4]&0xf0 == 0xb0 &&
			b[i+5]&0xc0 == 0x80:
			out = utf8.AppendRune(out, 0x10000+(rune(b[i+1]&0x0f)<<16|rune(b[i+2]&0x3f)<<10|rune(b[i+4]&0x0f)<<6|rune(b[i+5]&0x3f)))
			i += 6
		default:
			return "", false
		}
	}
	return string(out), true
}
