package tokenize

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// span is a range of bytes.
type span struct{ b, e int32 }

// seg is a piece of text on its way to the model. al, when not nil, gives for
// each byte of s the bytes of the original that it stands for; when nil, s is
// the original from byte base on.
type seg struct {
	s    string
	al   []span
	base int
}

func (g seg) sub(b, e int) seg {
	r := seg{s: g.s[b:e], base: g.base + b}
	if g.al != nil {
		r.al = g.al[b:e]
	}
	return r
}

// origin is the first original byte.
func (g seg) origin() int {
	if len(g.al) > 0 {
		return int(g.al[0].b)
	}
	return g.base
}

// place is the original bytes, whole characters, of s[b:e].
func (g seg) place(b, e int) (int, int) {
	if b >= e {
		return g.base, g.base
	}
	if g.al != nil {
		return int(g.al[b].b), int(g.al[e-1].e)
	}
	for b > 0 && !utf8.RuneStart(g.s[b]) {
		b--
	}
	for e < len(g.s) && !utf8.RuneStart(g.s[e]) {
		e++
	}
	return g.base + b, g.base + e
}

// align is al, made where it is not there yet.
func (g seg) align() []span {
	if g.al != nil {
		return g.al
	}
	al := make([]span, len(g.s))
	for i, r := range g.s {
		n := utf8.RuneLen(r)
		for k := range n {
			al[i+k] = span{int32(g.base + i), int32(g.base + i + n)}
		}
	}
	return al
}

// prepend puts text before g; it stands for g's first character.
func (g seg) prepend(text string, track bool) seg {
	if g.s == "" {
		return g
	}
	r := seg{s: text + g.s, base: g.base}
	if track {
		al := g.align()
		r.al = make([]span, 0, len(r.s))
		for range len(text) {
			r.al = append(r.al, al[0])
		}
		r.al = append(r.al, al...)
	}
	return r
}

// replace puts new in place of each old; it stands for the last character of old.
func (g seg) replace(old, new string, track bool) seg {
	if !strings.Contains(g.s, old) {
		return g
	}
	r := seg{s: strings.ReplaceAll(g.s, old, new), base: g.base}
	if !track {
		return r
	}
	al := g.align()
	r.al = make([]span, 0, len(r.s))
	for i := 0; i < len(g.s); {
		k := strings.Index(g.s[i:], old)
		if k < 0 {
			r.al = append(r.al, al[i:]...)
			break
		}
		r.al = append(r.al, al[i:i+k]...)
		i += k + len(old)
		for range len(new) {
			r.al = append(r.al, al[i-1])
		}
	}
	return r
}

// normalizer changes the text of a piece; with track it keeps the places.
type normalizer interface {
	normalize(g seg, track bool) seg
}

type normPrepend struct{ text string }

func (n normPrepend) normalize(g seg, track bool) seg { return g.prepend(n.text, track) }

type normReplace struct{ old, new string }

func (n normReplace) normalize(g seg, track bool) seg { return g.replace(n.old, n.new, track) }

type normSequence []normalizer

func (n normSequence) normalize(g seg, track bool) seg {
	for _, x := range n {
		g = x.normalize(g, track)
	}
	return g
}

// normNFC is Unicode normalization form C.
type normNFC struct{}

func (normNFC) normalize(g seg, track bool) seg {
	if norm.NFC.IsNormalString(g.s) {
		return g
	}
	if !track {
		return seg{s: norm.NFC.String(g.s), base: g.base}
	}
	return composeNFC(g)
}

// nfcRune is a character on its way through normalization: how many more (or,
// negative, fewer) characters than the original it stands for.
type nfcRune struct {
	r      rune
	ccc    uint8
	change int
}

// composeNFC decomposes, orders and composes g, following the count of
// characters each result stands for, as the `unicode-normalization-alignments`
// crate does; a composed character has the place of its first part.
func composeNFC(g seg) seg {
	var d []nfcRune
	for _, r := range g.s {
		c := string(r)
		if dec := norm.NFD.PropertiesString(c).Decomposition(); dec != nil || r >= 0xAC00 && r <= 0xD7A3 {
			if dec == nil {
				dec = norm.NFD.Bytes([]byte(c))
			}
			for i, x := range string(dec) {
				d = append(d, nfcRune{x, ccc(x), min(i, 1)})
			}
			continue
		}
		d = append(d, nfcRune{r, ccc(r), 0})
	}
	for i := 1; i < len(d); i++ { // stable order of marks
		for j := i; j > 0 && d[j].ccc != 0 && d[j-1].ccc > d[j].ccc; j-- {
			d[j], d[j-1] = d[j-1], d[j]
		}
	}
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
	return g.transform(out)
}

func ccc(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	return norm.NFC.PropertiesString(string(r)).CCC()
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

// transform replaces the characters of g, each result standing for the next
// character of g (change 0), for the one before it (positive) or for the next
// one and -change more.
func (g seg) transform(out []nfcRune) seg {
	al := g.align()
	r := seg{base: g.base, al: make([]span, 0, len(g.s))}
	var sb strings.Builder
	at := 0
	skip := func() {
		if at < len(g.s) {
			_, n := utf8.DecodeRuneInString(g.s[at:])
			at += n
		}
	}
	for _, x := range out {
		var a span
		switch {
		case x.change > 0 && at > 0:
			a = al[at-1]
		case x.change <= 0 && at < len(al):
			a = al[at]
		}
		if x.change <= 0 {
			for range 1 - x.change {
				skip()
			}
		}
		sb.WriteRune(x.r)
		for range utf8.RuneLen(x.r) {
			r.al = append(r.al, a)
		}
	}
	r.s = sb.String()
	return r
}

// parseNormalizer reads the normalizer.
func parseNormalizer(v val) (normalizer, error) {
	if v.null() {
		return nil, nil
	}
	o, err := v.object()
	if err != nil {
		return nil, err
	}
	var n normalizer
	switch kind := o.str("type"); kind {
	case "NFC":
		n = normNFC{}
	case "Prepend":
		n = normPrepend{o.str("prepend")}
	case "Replace":
		re, lit, err := parsePattern(o.take("pattern"))
		if err != nil {
			return nil, err
		}
		if re || lit == "" {
			return nil, unsupported(v.path+".pattern", "Regex", "String")
		}
		n = normReplace{lit, o.str("content")}
	case "Sequence":
		list, err := o.take("normalizers").list()
		if err != nil {
			return nil, err
		}
		var seq normSequence
		for _, e := range list {
			x, err := parseNormalizer(e)
			if err != nil {
				return nil, err
			}
			seq = append(seq, x)
		}
		n = seq
	default:
		if o.err != nil {
			return nil, o.err
		}
		return nil, unsupported(v.path, kind, "NFC, Prepend, Replace, Sequence")
	}
	return n, o.done()
}

// parsePattern reads {"Regex": …} or {"String": …}.
func parsePattern(v val) (regex bool, text string, err error) {
	o, err := v.object()
	if err != nil {
		return false, "", err
	}
	if _, regex = o.m["Regex"]; regex {
		text = o.str("Regex")
	} else {
		text = o.str("String")
	}
	return regex, text, o.done()
}
