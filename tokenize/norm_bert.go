package tokenize

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normBert is BERT's: control characters out and white space to spaces, spaces around Chinese characters, accents off, lower case, in this
// order.
type normBert struct {
	clean, chinese, accents, lower bool

	once  sync.Once
	table []string // what a character becomes, below tableRunes; bertKeep where it stays
}

const (
	bertKeep   = "\x00" // no character becomes this one
	bertTable  = 0x3100 // below Hangul and the Chinese characters
	bertHangul = 0xAC00
)

func isChinese(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r <= 0x4DBF, r >= 0x4E00 && r <= 0x9FFF, r >= 0xF900 && r <= 0xFAFF, r >= 0x20000 && r <= 0x2A6DF, r >= 0x2A700 && r <= 0x2B73F,
		r >= 0x2B740 && r <= 0x2B81F, r >= 0x2B920 && r <= 0x2CEAF, r >= 0x2F800 && r <= 0x2FA1F:
		return true
	}
	return false
}

func (n *normBert) normalize(g seg, track bool) (seg, error) {
	if !track {
		if s, ok := n.quick(g.s); ok {
			return seg{s: s, base: g.base}, nil
		}
	}
	if n.clean {
		set := classSet("control")
		g = g.filtered(track, func(r rune) bool { return !set.has(r) })
		g = g.mapped(track, func(r rune) (string, bool) { return " ", r != ' ' && isSpace(r) })
	}
	if n.chinese {
		g = n.spread(g, track)
	}
	if n.accents {
		g, _ = simpleNormalizers["NFD"].normalize(g, track)
		set := classSet("nonspacing")
		g = g.filtered(track, func(r rune) bool { return !set.has(r) })
	}
	if n.lower {
		g, _ = normLowercase{}.normalize(g, track)
	}
	return g, nil
}

// spread puts spaces around Chinese characters.
func (n *normBert) spread(g seg, track bool) seg {
	if strings.IndexFunc(g.s, isChinese) < 0 {
		return g
	}
	var out []nfcRune
	for _, r := range g.s {
		if isChinese(r) {
			out = append(out, nfcRune{r: ' '}, nfcRune{r: r, change: 1}, nfcRune{r: ' ', change: 1})
		} else {
			out = append(out, nfcRune{r: r})
		}
	}
	if track {
		return g.transform(out)
	}
	var sb strings.Builder
	sb.Grow(2 * len(g.s))
	for _, x := range out {
		sb.WriteRune(x.r)
	}
	return seg{s: sb.String(), base: g.base}
}

// one is what a single character becomes.
func (n *normBert) one(r rune) string {
	m := &normBert{clean: n.clean, chinese: n.chinese, accents: n.accents, lower: n.lower}
	m.once.Do(func() {}) // no table
	g, _ := m.normalize(seg{s: string(r)}, false)
	return g.s
}

// quick normalizes character by character, which is the same unless marks that stay have to change places; false then.
func (n *normBert) quick(s string) (string, bool) {
	n.once.Do(func() {
		t := make([]string, bertTable)
		for r := range rune(bertTable) {
			if t[r] = n.one(r); t[r] == string(r) {
				t[r] = bertKeep
			}
		}
		n.table = t
	})
	if n.table == nil {
		return "", false
	}
	out := make([]byte, 0, len(s)+len(s)/4)
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if to := n.table[c]; to == bertKeep {
				out = append(out, c)
			} else {
				out = append(out, to...)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		from := i
		i += size
		switch {
		case r < bertTable:
			if to := n.table[r]; to != bertKeep {
				out = append(out, to...)
				continue
			} else if n.accents && unicode.Is(unicode.M, r) && norm.NFD.PropertiesString(s[from:i]).CCC() != 0 {
				return "", false
			}
			out = append(out, s[from:i]...)
		case n.chinese && isChinese(r):
			if n.accents && r >= 0xF900 {
				out = append(out, n.one(r)...)
				continue
			}
			out = append(append(append(out, ' '), s[from:i]...), ' ')
		case r >= 0x3400 && r <= 0x9FFF:
			out = append(out, s[from:i]...)
		case r >= bertHangul && r <= 0xD7A3:
			if n.accents {
				out = norm.NFD.AppendString(out, s[from:i])
			} else {
				out = append(out, s[from:i]...)
			}
		default:
			if n.accents && unicode.Is(unicode.M, r) && norm.NFD.PropertiesString(s[from:i]).CCC() != 0 {
				return "", false
			}
			out = append(out, n.one(r)...)
		}
	}
	return string(out), true
}
