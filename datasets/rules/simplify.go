package rules

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Simplify makes a text comparable, as datatrove's simplify_text does with its defaults, in its order: lower case; numbers of any script,
// with one decimal separator, to "0"; punctuation to spaces; runs of white space to one space; canonical decomposition without the marks of
// category Mn. What decomposition brings back (a≠b is a=b decomposed) stays.
func Simplify(text string) string {
	text = lower(text)
	var b strings.Builder
	b.Grow(len(text))
	space, ascii := false, true // space: one is due before the next character
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c >= 'a' && c <= 'z':
			case c >= '0' && c <= '9':
				i = endOfNumber(text, i)
				c = '0'
			case c == ' ' || IsSpace(rune(c)) || removed.has(rune(c)):
				space = true
				continue
			}
			if space && b.Len() > 0 {
				b.WriteByte(' ')
			}
			space = false
			b.WriteByte(c)
			continue
		}
		r, w := utf8.DecodeRuneInString(text[i:])
		i += w
		if IsSpace(r) || removed.has(r) {
			space = true
			continue
		}
		if unicode.Is(unicode.Nd, r) {
			i = endOfNumber(text, i)
			r = '0'
		} else {
			ascii = false
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	if ascii {
		return b.String()
	}
	s := strings.Map(func(r rune) rune {
		if r >= 0x300 && unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(b.String()))
	return strip(s)
}

// endOfNumber is where the number ends whose first digit ends at i.
func endOfNumber(text string, i int) int {
	i = endOfDigits(text, i)
	r, w := utf8.DecodeRuneInString(text[i:])
	switch r {
	case '.', ',', '،', '٫', '⎖', '⎗', '⎘':
		if j := endOfDigits(text, i+w); j > i+w {
			return j
		}
	}
	return i
}

func endOfDigits(text string, i int) int {
	for i < len(text) {
		if c := text[i]; c < utf8.RuneSelf {
			if c < '0' || c > '9' {
				break
			}
			i++
			continue
		}
		r, w := utf8.DecodeRuneInString(text[i:])
		if !unicode.Is(unicode.Nd, r) {
			break
		}
		i += w
	}
	return i
}
