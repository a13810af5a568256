package tokenize

import (
	"fmt"
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
	normalize(g seg, track bool) (seg, error)
}

type normPrepend struct{ text string }

func (n normPrepend) normalize(g seg, track bool) (seg, error) {
	if err := grown(len(g.s), len(g.s)+len(n.text)); err != nil {
		return g, err
	}
	return g.prepend(n.text, track), nil
}

type normReplace struct{ old, new string }

func (n normReplace) normalize(g seg, track bool) (seg, error) {
	if len(n.new) > len(n.old) { // before it takes memory
		if err := grown(len(g.s), replaced(len(g.s), strings.Count(g.s, n.old), len(n.old), len(n.new))); err != nil {
			return g, err
		}
	}
	return g.replace(n.old, n.new, track), nil
}

type normSequence []normalizer

func (n normSequence) normalize(g seg, track bool) (seg, error) {
	var err error
	from := len(g.s)
	for _, x := range n {
		if g, err = x.normalize(g, track); err != nil {
			return g, err
		}
		if err := grown(from, len(g.s)); err != nil {
			return g, err
		}
	}
	return g, nil
}

// transform replaces the characters of g, each result standing for the next
// character of g (change 0), for the one before it (positive) or for the next
// one and -change more.
func (g seg) transform(out []nfcRune) seg { return g.transformFrom(out, 0) }

// transformFrom is transform after the first lead characters of g went away.
func (g seg) transformFrom(out []nfcRune, lead int) seg {
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
	for range lead {
		skip()
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

// simpleNormalizers are those without settings.
var simpleNormalizers = map[string]normalizer{
	"NFC": normForm{norm.NFC, "NFC"}, "NFD": normForm{norm.NFD, "NFD"}, "NFKC": normForm{norm.NFKC, "NFKC"},
	"NFKD":      normForm{norm.NFKD, "NFKD"},
	"Lowercase": normLowercase{}, "Nmt": normNmt{}, "StripAccents": normFilter{"combining"}, "ByteLevel": normByteLevel{},
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
	case "Prepend":
		n = normPrepend{o.str("prepend")}
	case "Strip":
		n = normStrip{o.boolean("strip_left", true), o.boolean("strip_right", true)}
	case "BertNormalizer":
		b := &normBert{clean: o.boolean("clean_text", true), chinese: o.boolean("handle_chinese_chars", true),
			lower: o.boolean("lowercase", true)}
		b.accents = o.boolean("strip_accents", b.lower)
		n = b
	case "Precompiled":
		n, err = parseCharsmap(o)
		if err != nil {
			return nil, err
		}
	case "Replace":
		pat := o.take("pattern")
		re, text, err := parsePattern(pat)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%s is empty", pat.path)
		}
		content := o.str("content")
		n = normReplace{text, content}
		if re {
			find, err := findRegex(text, true)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", pat.path, err)
			}
			n = normReplaceRegex{find, content}
		}
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
			if steps(seq) > mostSteps {
				return nil, fmt.Errorf("%s has more than %d parts, which is out of proportion", v.path, mostSteps)
			}
		}
		n = seq
	default:
		if o.err != nil {
			return nil, o.err
		}
		if n = simpleNormalizers[kind]; n == nil {
			return nil, unsupported(v.path, kind, "BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, "+
				"Prepend, Replace, Sequence, Strip, StripAccents")
		}
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
