package tokenize

import (
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normForm is one of Unicode's normalization forms.
type normForm struct {
	form norm.Form
	name string // of the class of characters that the form changes, one by one
}

func (n normForm) normalize(g seg, track bool) (seg, error) {
	if n.form.IsNormalString(g.s) {
		return g, nil
	}
	compat := n.form == norm.NFKC || n.form == norm.NFKD
	if !track && !(compat && n.newer(g.s)) {
		return seg{s: n.form.String(g.s), base: g.base}, nil
	}
	d := decompose(g.s, n)
	if n.form == norm.NFC || n.form == norm.NFKC {
		d = composed(d)
	}
	return g.transform(d), nil
}

// newer tells whether s has a character that decomposes in newer versions of Unicode than the one that HF tokenizers follows.
func (n normForm) newer(s string) bool {
	set := classSet("NFKD")
	for i, r := range s {
		if r >= 0x3000 && !set.has(r) && !(r >= 0xAC00 && r <= 0xD7A3) && !norm.NFKD.IsNormalString(s[i:i+utf8.RuneLen(r)]) {
			return true
		}
	}
	return false
}

// nfcRune is a character on its way through normalization: how many more (or,
// negative, fewer) characters than the original it stands for.
type nfcRune struct {
	r      rune
	ccc    uint8
	change int
}

// decompose is the decomposition of s with its marks in canonical order, following the count of characters each result stands for, as the
// `unicode-normalization-alignments` crate does.
func decompose(s string, n normForm) []nfcRune {
	form, set := norm.NFD, classSet("NFD")
	if n.form == norm.NFKC || n.form == norm.NFKD {
		form, set = norm.NFKD, classSet("NFKD")
	}
	d := make([]nfcRune, 0, len(s))
	for _, r := range s {
		if !set.has(r) {
			d = append(d, nfcRune{r, ccc(r), 0})
			continue
		}
		for i, x := range form.String(string(r)) {
			d = append(d, nfcRune{x, ccc(x), min(i, 1)})
		}
	}
	// A stable order of the marks between two starters.
	for i := 0; i < len(d); {
		if d[i].ccc == 0 {
			i++
			continue
		}
		j := i
		for j < len(d) && d[j].ccc != 0 {
			j++
		}
		sortMarks(d[i:j])
		i = j
	}
	return d
}

// composed composes a decomposed text; a composed character has the place of its first part.
func composed(d []nfcRune) []nfcRune {
	out := d[:0:0]
	starter, last := -1, -1 // index in out; class of the last mark kept, -1 none
	for _, x := range d {
		if starter >= 0 && last < int(x.ccc) {
			if r, ok := compose(out[starter].r, x.r); ok {
				out[starter].r = r
				out[starter].change += x.change - 1
				continue
			}
		}
		if x.ccc == 0 {
			starter, last = len(out), -1
		} else if starter >= 0 {
			last = int(x.ccc)
		}
		out = append(out, x)
	}
	return out
}

func ccc(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	var buf [utf8.UTFMax]byte
	return norm.NFC.Properties(utf8.AppendRune(buf[:0], r)).CCC()
}

// compose is the primary composite of a and b.
func compose(a, b rune) (rune, bool) {
	if b < 0x300 {
		return 0, false
	}
	s := norm.NFC.String(string(a) + string(b))
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s)
}

// lowers is the lower case of r, of one character or more, "" when it is r.
func lowers(r rune) string {
	if r < utf8.RuneSelf {
		if r >= 'A' && r <= 'Z' {
			return asciiLower[r-'A' : r-'A'+1]
		}
		return ""
	}
	return readClasses().lower[r]
}

const asciiLower = "abcdefghijklmnopqrstuvwxyz"

// mapped replaces characters one by one: f gives what r becomes, keep false when it stays. No result is empty.
func (g seg) mapped(track bool, f func(r rune) (to string, change bool)) seg {
	same, plain := true, true // no change; each result as long as its character
	var sb strings.Builder
	for i, r := range g.s {
		to, ok := f(r)
		if !ok {
			if !same {
				sb.WriteRune(r)
			}
			continue
		}
		if same {
			sb.Grow(len(g.s) + 16)
			sb.WriteString(g.s[:i])
			same = false
		}
		sb.WriteString(to)
		plain = plain && len(to) == utf8.RuneLen(r)
	}
	if same {
		return g
	}
	if !track || plain {
		return seg{s: sb.String(), base: g.base, al: g.al}
	}
	var out []nfcRune
	for _, r := range g.s {
		to, ok := f(r)
		if !ok {
			out = append(out, nfcRune{r: r})
			continue
		}
		for i, x := range to {
			out = append(out, nfcRune{r: x, change: min(i, 1)})
		}
	}
	return g.transform(out)
}

// filtered keeps the characters for which keep holds; what goes away belongs to the character before it.
func (g seg) filtered(track bool, keep func(r rune) bool) seg {
	all := true
	for _, r := range g.s {
		if !keep(r) {
			all = false
			break
		}
	}
	if all {
		return g
	}
	if !track {
		return seg{base: g.base, s: strings.Map(func(r rune) rune {
			if keep(r) {
				return r
			}
			return -1
		}, g.s)}
	}
	var out []nfcRune
	lead := 0
	for _, r := range g.s {
		switch {
		case keep(r):
			out = append(out, nfcRune{r: r})
		case len(out) == 0:
			lead++
		default:
			out[len(out)-1].change--
		}
	}
	return g.transformFrom(out, lead)
}

// normLowercase is Unicode's lower case, character by character.
type normLowercase struct{}

func (normLowercase) normalize(g seg, track bool) (seg, error) {
	return g.mapped(track, func(r rune) (string, bool) {
		to := lowers(r)
		return to, to != ""
	}), nil
}

// normFilter takes out the characters of a class: StripAccents.
type normFilter struct{ class string }

func (n normFilter) normalize(g seg, track bool) (seg, error) {
	set := classSet(n.class)
	return g.filtered(track, func(r rune) bool { return !set.has(r) }), nil
}

// normNmt takes out control characters and makes spaces of others, as sentencepiece's nmt rules do.
type normNmt struct{}

func (normNmt) normalize(g seg, track bool) (seg, error) {
	g = g.filtered(track, func(r rune) bool {
		switch {
		case r >= 1 && r <= 8, r == 0x0B, r >= 0x0E && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return false
		}
		return true
	})
	return g.mapped(track, func(r rune) (string, bool) {
		switch {
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200B && r <= 0x200F, r == 0x2028, r == 0x2029, r == 0x2581,
			r == 0xFEFF, r == 0xFFFD:
			return " ", true
		}
		return "", false
	}), nil
}

// normStrip takes white space off the ends.
type normStrip struct{ left, right bool }

func (n normStrip) normalize(g seg, track bool) (seg, error) {
	b, e := 0, len(g.s)
	if n.left {
		b = e - len(strings.TrimLeftFunc(g.s, isSpace))
	}
	if n.right {
		e = max(b, len(strings.TrimRightFunc(g.s, isSpace)))
	}
	return g.sub(b, e), nil
}

// normByteLevel spells each byte as a character.
type normByteLevel struct{}

func (normByteLevel) normalize(g seg, track bool) (seg, error) {
	r := seg{s: mapBytes(g.s), base: g.base}
	if track {
		al := g.align()
		r.al = make([]span, 0, len(r.s))
		for i := range len(g.s) {
			for range utf8.RuneLen(byteRune[g.s[i]]) {
				r.al = append(r.al, al[i])
			}
		}
	}
	return r, nil
}

// normReplaceRegex puts content in place of each match.
type normReplaceRegex struct {
	find    finder
	content string
}

func (n normReplaceRegex) normalize(g seg, track bool) (seg, error) {
	m, err := n.find(g.s)
	if err != nil {
		return g, err
	}
	count, kept := 0, 0
	for _, x := range m {
		if x.match {
			count++
		} else {
			kept += x.e - x.b
		}
	}
	if count == 0 {
		return g, nil
	}
	if err := grown(len(g.s), kept+count*len(n.content)); err != nil {
		return g, err
	}
	var sb strings.Builder
	var al, out []span
	if track {
		al = g.align()
		out = make([]span, 0, len(g.s))
	}
	for _, x := range m {
		if !x.match {
			sb.WriteString(g.s[x.b:x.e])
			if track {
				out = append(out, al[x.b:x.e]...)
			}
			continue
		}
		sb.WriteString(n.content)
		if track {
			var a span
			if x.e > 0 {
				a = al[x.e-1]
			}
			for range len(n.content) {
				out = append(out, a)
			}
		}
	}
	return seg{s: sb.String(), al: out, base: g.base}, nil
}

// sortMarks orders combining marks by class, equal ones as they stood.
func sortMarks(d []nfcRune) {
	if len(d) < 2 {
		return
	}
	sort.SliceStable(d, func(i, j int) bool { return d[i].ccc < d[j].ccc })
}
