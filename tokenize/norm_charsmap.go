package tokenize

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// normCharsmap is sentencepiece's precompiled charsmap: a double-array trie (darts-clone) from characters to replacements. As Hugging Face
// tokenizers has it, a grapheme of less than six bytes is looked up whole, any other, or one that is not found, character by character; and
// the shortest beginning found counts for the whole.
type normCharsmap struct {
	units []uint32
	text  string
	ascii [utf8.RuneSelf]string // replacement of an ASCII character, charsKeep where there is none
}

const charsKeep = "\xff"

func parseCharsmap(o *obj) (normalizer, error) {
	at := o.at("precompiled_charsmap")
	raw, err := base64.StdEncoding.DecodeString(o.str("precompiled_charsmap"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if len(raw) == 0 && o.err == nil {
		return normSequence(nil), nil
	}
	if o.err != nil {
		return nil, o.err
	}
	if len(raw) < 4 {
		return nil, fmt.Errorf("%s: it ends after %d bytes", at, len(raw))
	}
	n := int(binary.LittleEndian.Uint32(raw))
	if n%4 != 0 || n == 0 || n > len(raw)-4 {
		return nil, fmt.Errorf("%s: a trie of %d bytes in %d", at, n, len(raw))
	}
	m := &normCharsmap{units: make([]uint32, n/4), text: string(raw[4+n:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(raw[4+4*i:])
	}
	for c := range m.ascii {
		m.ascii[c] = charsKeep
		if to, ok := m.lookup(string(rune(c))); ok {
			m.ascii[c] = to
		}
	}
	return m, nil
}

// lookup is the replacement of the shortest beginning of s that has one.
func (m *normCharsmap) lookup(s string) (string, bool) {
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	pos := offset(m.units[0])
	for i := range len(s) {
		if s[i] == 0 {
			break
		}
		pos ^= uint32(s[i])
		if int(pos) >= len(m.units) {
			break
		}
		u := m.units[pos]
		if u&(1<<31|0xFF) != uint32(s[i]) {
			break
		}
		pos ^= offset(u)
		if u>>8&1 == 0 {
			continue
		}
		if int(pos) >= len(m.units) {
			break
		}
		at := int(m.units[pos] & (1<<31 - 1))
		if at > len(m.text) {
			break
		}
		to := m.text[at:]
		if k := strings.IndexByte(to, 0); k >= 0 {
			to = to[:k]
		}
		return to, true
	}
	return "", false
}

// alone tells of characters that are graphemes of their own between others of the kind.
var alone = sync.OnceValue(func() *runeSet {
	s := new(runeSet)
	one := func(x string) bool {
		_, rest, _, _ := uniseg.FirstGraphemeClusterInString(x, -1)
		return rest == ""
	}
	for r := rune(0); r < 0x3400; r++ {
		c := string(r)
		if r != '\r' && !one("a"+c) && !one(c+"a") && !one(c+c) {
			s.add([]runeRange{{r, r}})
		}
	}
	s.add([]runeRange{{0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3}})
	return s
})

// graphemes calls f for each grapheme of s.
func graphemes(s string, f func(b, e int)) {
	set := alone()
	state := -1
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if set.has(r) {
			nr, m := rune(0), 0
			if i+n < len(s) {
				if nr, m = rune(s[i+n]), 1; nr >= utf8.RuneSelf {
					nr, m = utf8.DecodeRuneInString(s[i+n:])
				}
			}
			if m == 0 || set.has(nr) {
				f(i, i+n)
				i += n
				state = -1
				continue
			}
		}
		var c string
		c, _, _, state = uniseg.FirstGraphemeClusterInString(s[i:], state)
		f(i, i+len(c))
		i += len(c)
	}
}

func (m *normCharsmap) normalize(g seg, track bool) (seg, error) {
	if !track {
		return seg{s: m.replace(g.s), base: g.base}, nil
	}
	var out []nfcRune
	changed := false
	put := func(old, to string) {
		changed = true
		from := len(out)
		for _, r := range to {
			out = append(out, nfcRune{r: r})
		}
		diff := len(out) - from - utf8.RuneCountInString(old)
		for k := range max(diff, 0) {
			if i := len(out) - 1 - k; i >= 0 {
				out[i].change = 1
			}
		}
		if diff < 0 && len(out) > 0 {
			out[len(out)-1].change += diff
		}
	}
	graphemes(g.s, func(b, e int) {
		if e-b < 6 {
			if to, ok := m.lookup(g.s[b:e]); ok {
				put(g.s[b:e], to)
				return
			}
		}
		for i, r := range g.s[b:e] {
			c := g.s[b+i : b+i+utf8.RuneLen(r)]
			if to, ok := m.lookup(c); ok {
				put(c, to)
			} else {
				out = append(out, nfcRune{r: r})
			}
		}
	})
	if !changed {
		return g, nil
	}
	return g.transform(out), nil
}

// replace is normalize without places.
func (m *normCharsmap) replace(s string) string {
	var out []byte
	done := 0 // s[:done] is in out
	put := func(b, e int, to string) {
		if out == nil {
			out = make([]byte, 0, len(s)+len(s)/8)
		}
		out = append(append(out, s[done:b]...), to...)
		done = e
	}
	graphemes(s, func(b, e int) {
		if e-b == 1 && s[b] < utf8.RuneSelf {
			if to := m.ascii[s[b]]; to != charsKeep {
				put(b, e, to)
			}
			return
		}
		if e-b < 6 {
			if to, ok := m.lookup(s[b:e]); ok {
				put(b, e, to)
				return
			}
		}
		for i, r := range s[b:e] {
			n := utf8.RuneLen(r)
			if to, ok := m.lookup(s[b+i : b+i+n]); ok {
				put(b+i, b+i+n, to)
			}
		}
	})
	if out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}
