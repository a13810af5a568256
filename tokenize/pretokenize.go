package tokenize

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// behavior is what becomes of the matches of a split.
type behavior string

const (
	removed      behavior = "Removed"
	isolated     behavior = "Isolated"
	withPrevious behavior = "MergedWithPrevious"
	withNext     behavior = "MergedWithNext"
	contiguous   behavior = "Contiguous"
)

// mspan is a part of a text that matched, or the gap between two matches.
type mspan struct {
	b, e  int
	match bool
}

// finder cuts a text into matches and gaps.
type finder func(s string) ([]mspan, error)

type preKind uint8

const (
	preScan      preKind = iota // isolated matches of a scanner
	preByteLevel                // the same, after an optional prefix space; bytes from here on
	preDigits                   // \p{N}, runs or single
	preDigits3                  // [0-9][0-9][0-9], isolated
	preFind                     // any finder and behavior
	preMetaspace
	preSpaces  // white space goes away
	preBert    // and punctuation stands alone
	preScripts // UnicodeScripts
	preLength  // FixedLength
)

// preStep is one pre-tokenizer.
type preStep struct {
	kind     preKind
	scan     scanner // nil: no split
	prefix   bool    // ByteLevel: add_prefix_space
	lone     bool    // ByteLevel: of no Sequence
	single   bool    // Digits: individual_digits
	find     finder
	behavior behavior
	meta     metaspace
	mapped   bool // the text is byte-level already
	length   int  // FixedLength: characters
}

type metaspace struct {
	rep    string
	scheme string
	split  bool
}

// mappedNumber tells of each byte whether its byte-level spelling is a number.
var mappedNumber = sync.OnceValue(func() *[256]bool {
	t := new([256]bool)
	for b, r := range byteRune {
		t[b] = classTable()[r]&classNum != 0
	}
	return t
})

// pre runs the pre-tokenizers from k on over g and gives the words to the model.
func (w *worker) pre(k int, g seg) error {
	if k == len(w.f.pre) {
		w.words(g)
		return nil
	}
	p := &w.f.pre[k]
	switch p.kind {
	case preByteLevel, preScan:
		return w.scanned(k, g, p)
	case preDigits:
		return w.digits(k, g, p)
	case preSpaces, preBert:
		return w.spaced(k, g, p.kind == preBert)
	case preScripts:
		return w.scripts(k, g)
	case preLength:
		return w.lengths(k, g, p.length)
	case preDigits3:
		return w.threes(k, g)
	case preMetaspace:
		g = g.replace(" ", p.meta.rep, w.track)
		if !strings.HasPrefix(g.s, p.meta.rep) && (p.meta.scheme == "always" || p.meta.scheme == "first" && g.origin() == 0) {
			g = g.prepend(p.meta.rep, w.track)
		}
		if !p.meta.split {
			return w.pre(k+1, g)
		}
	}
	return w.found(k, g, p)
}

// scanned splits by a scanner.
func (w *worker) scanned(k int, g seg, p *preStep) error {
	if p.prefix && g.s != "" && g.s[0] != ' ' {
		g = g.prepend(" ", w.track)
	}
	if p.scan == nil {
		return w.pre(k+1, g)
	}
	last := k+1 == len(w.f.pre) || k+2 == len(w.f.pre) && w.f.pre[k+1].kind == preByteLevel &&
		w.f.pre[k+1].scan == nil && !w.f.pre[k+1].prefix
	for i := 0; i < len(g.s); {
		e := p.scan(w.t, g.s, i)
		if last {
			w.word(g.sub(i, e))
		} else if err := w.pre(k+1, g.sub(i, e)); err != nil {
			return err
		}
		i = e
	}
	return nil
}

// threes splits digits off by threes.
func (w *worker) threes(k int, g seg) error {
	from := 0
	for i := 0; i+3 <= len(g.s); {
		if !digit(g.s[i]) || !digit(g.s[i+1]) || !digit(g.s[i+2]) {
			i++
			continue
		}
		if from < i {
			if err := w.pre(k+1, g.sub(from, i)); err != nil {
				return err
			}
		}
		if err := w.pre(k+1, g.sub(i, i+3)); err != nil {
			return err
		}
		i += 3
		from = i
	}
	if from < len(g.s) {
		return w.pre(k+1, g.sub(from, len(g.s)))
	}
	return nil
}

// found splits by what a finder finds.
func (w *worker) found(k int, g seg, p *preStep) error {
	text := g.s
	if p.mapped {
		text = mapBytes(text)
	}
	m, err := p.find(text)
	if err != nil {
		return err
	}
	pos, at := 0, 0 // the same place in text and in g.s
	there := func(to int) int {
		if !p.mapped {
			return to
		}
		at += utf8.RuneCountInString(text[pos:to])
		pos = to
		return at
	}
	for _, x := range p.behavior.join(m) {
		if b, e := there(x.b), there(x.e); b < e {
			if err := w.pre(k+1, g.sub(b, e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// digits splits off numbers.
func (w *worker) digits(k int, g seg, p *preStep) error {
	from, was := 0, false
	var mapped *[256]bool
	if p.mapped {
		mapped = mappedNumber()
	}
	for i := 0; i < len(g.s); {
		n, num := 1, false
		if mapped != nil {
			num = mapped[g.s[i]]
		} else {
			var c uint8
			c, n = next(w.t, g.s, i)
			num = c&classNum != 0
		}
		if i > from && (num != was || num && p.single) {
			if err := w.pre(k+1, g.sub(from, i)); err != nil {
				return err
			}
			from = i
		}
		was = num
		i += n
	}
	if from < len(g.s) {
		return w.pre(k+1, g.sub(from, len(g.s)))
	}
	return nil
}

// join turns matches and gaps into pieces.
func (h behavior) join(m []mspan) []mspan {
	var out []mspan
	prev := false
	switch h {
	case isolated:
		return m
	case removed:
		for _, x := range m {
			if !x.match {
				out = append(out, x)
			}
		}
	case withPrevious, contiguous:
		for _, x := range m {
			if n := len(out); n > 0 && (h == withPrevious && x.match && !prev || h == contiguous && x.match == prev) {
				out[n-1].e = x.e
			} else {
				out = append(out, x)
			}
			prev = x.match
		}
	case withNext:
		for i := len(m) - 1; i >= 0; i-- {
			x := m[i]
			if n := len(out); n > 0 && x.match && !prev {
				out[n-1].b = x.b
			} else {
				out = append(out, x)
			}
			prev = x.match
		}
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out
}

// findLiteral finds a string.
func findLiteral(lit string) finder {
	return func(s string) (m []mspan, _ error) {
		for i := 0; i < len(s); {
			k := strings.Index(s[i:], lit)
			if k < 0 {
				return append(m, mspan{i, len(s), false}), nil
			}
			if k > 0 {
				m = append(m, mspan{i, i + k, false})
			}
			i += k + len(lit)
			m = append(m, mspan{i - len(lit), i, true})
		}
		return m, nil
	}
}

// findPunct finds single punctuation characters.
func findPunct(s string) (m []mspan, _ error) {
	t := classTable()
	for i := 0; i < len(s); {
		c, n := next(t, s, i)
		if k := len(m); c&classP == 0 && k > 0 && !m[k-1].match {
			m[k-1].e = i + n
		} else {
			m = append(m, mspan{i, i + n, c&classP != 0})
		}
		i += n
	}
	return m, nil
}
