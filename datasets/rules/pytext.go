package rules

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/internal/pytext"
)

// IsSpace is Python's str.isspace of a character, which \s of its re module agrees with.
func IsSpace(r rune) bool { return pytext.IsSpace(r) }

func strip(s string) string  { return strings.TrimFunc(s, IsSpace) }
func lstrip(s string) string { return strings.TrimLeftFunc(s, IsSpace) }
func rstrip(s string) string { return strings.TrimRightFunc(s, IsSpace) }

// Lines splits a text as Python's str.splitlines.
func Lines(s string) []string { return splitLines(s) }

// splitLines is Python's str.splitlines: no empty line after a final separator.
func splitLines(s string) []string {
	out := make([]string, 0, strings.Count(s, "\n")+1)
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		w := 1
		switch {
		case c >= 0x20 && c < 0x80:
			i++
			continue
		case c == '\r':
			if i+1 < len(s) && s[i+1] == '\n' {
				w = 2
			}
		case c >= '\n' && c <= '\f', c >= 0x1c && c <= 0x1e:
		case c == 0xc2 && i+1 < len(s) && s[i+1] == 0x85:
			w = 2
		case c == 0xe2 && i+2 < len(s) && s[i+1] == 0x80 && (s[i+2] == 0xa8 || s[i+2] == 0xa9):
			w = 3
		default:
			i++
			continue
		}
		out = append(out, s[start:i])
		i += w
		start = i
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

// splitNewlines splits at runs of at least n newlines.
func splitNewlines(s string, n int) []string {
	out := make([]string, 0, 16)
	start := 0
	for i := 0; i < len(s); {
		k := strings.IndexByte(s[i:], '\n')
		if k < 0 {
			break
		}
		i += k
		j := i
		for j < len(s) && s[j] == '\n' {
			j++
		}
		if j-i >= n {
			out = append(out, s[start:i])
			start = j
		}
		i = j
	}
	return append(out, s[start:])
}

// lower is Python's str.lower: full case mapping, with the final sigma.
func lower(s string) string {
	upper, ascii := false, true
	for i := 0; i < len(s); i++ {
		c := s[i]
		upper = upper || c >= 'A' && c <= 'Z'
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		if !upper {
			return s
		}
		return strings.ToLower(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
		case r == 'İ':
			b.WriteString("i̇")
		case r == 'Σ':
			if finalSigma(s, i) {
				r = 'ς'
			} else {
				r = 'σ'
			}
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// finalSigma is Unicode's condition Final_Sigma of the sigma at s[i:].
func finalSigma(s string, i int) bool {
	before := false
	for j := i; j > 0; {
		r, w := utf8.DecodeLastRuneInString(s[:j])
		j -= w
		if !caseIgnorable(r) {
			before = cased(r)
			break
		}
	}
	if !before {
		return false
	}
	for _, r := range s[i+len("Σ"):] {
		if !caseIgnorable(r) {
			return !cased(r)
		}
	}
	return true
}

func cased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) || unicode.Is(unicode.Other_Lowercase, r) ||
		unicode.Is(unicode.Other_Uppercase, r)
}

func caseIgnorable(r rune) bool {
	switch r {
	case '\'', '.', ':', '·', '’', '‘', '․', '‧', '︓', '﹒', '﹕', '＇', '．', '：', '՟', '״':
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// runeSet is a set of characters.
type runeSet struct {
	bmp  [1024]uint64
	high map[rune]bool
}

func newRuneSet(s string) *runeSet {
	t := &runeSet{high: map[rune]bool{}}
	for _, r := range s {
		if r < 1<<16 {
			t.bmp[r>>6] |= 1 << (r & 63)
		} else {
			t.high[r] = true
		}
	}
	return t
}

func (t *runeSet) has(r rune) bool {
	if r < 1<<16 {
		return t.bmp[r>>6]>>(r&63)&1 != 0
	}
	return t.high[r]
}
