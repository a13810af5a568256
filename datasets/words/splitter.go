package words

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// Splitter cuts the text of one language. It is safe for use by several goroutines.
type Splitter struct {
	l        *language
	special  map[string][]string   // exceptions by their text: their parts
	phrases  map[string][][]string // exceptions that edges are cut from, as the words without exceptions, by the first word
	plainish [256]bool             // bytes of pieces that only an exception could cut
	maxLen   int                   // of an exception, bytes
	edges    [256][4]uint64        // by the first byte of an exception, the bits of the last: most pieces are told apart by these
}

func newSplitter(l *language) *Splitter {
	loadClasses()
	s := &Splitter{l: l, special: map[string][]string{}, phrases: map[string][][]string{}}
	for c := range 128 {
		s.plainish[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, line := range dataLines(l.exceptions) {
		parts := strings.Split(line, "\t")
		key := strings.Join(parts, "")
		s.special[key] = parts
		s.maxLen = max(s.maxLen, len(key))
		last := key[len(key)-1]
		s.edges[key[0]][last>>6] |= 1 << (last & 63)
	}
	plain := &Splitter{l: l, plainish: s.plainish}
	for key := range s.special {
		if w := plain.cut(nil, key); len(w) > 1 {
			s.phrases[w[0]] = append(s.phrases[w[0]], w)
		}
	}
	return s
}

// Words are the words of the text, parts of it.
func (s *Splitter) Words(text string) []string {
	out := make([]string, 0, len(text)/5+4)
	for i := 0; i < len(text); {
		// The common piece: ASCII letters and digits up to a space.
		j := i
		for j < len(text) && s.plainish[text[j]] {
			j++
		}
		if j > i && (j == len(text) || text[j] == ' ' || text[j] == '\n') {
			out = s.plain(out, text[i:j])
			i = j + 1
			continue
		}
		for j < len(text) {
			c := text[j]
			if c < utf8.RuneSelf {
				if c <= ' ' && rules.IsSpace(rune(c)) {
					break
				}
				j++
				continue
			}
			r, w := utf8.DecodeRuneInString(text[j:])
			if rules.IsSpace(r) {
				break
			}
			j += w
		}
		if j > i {
			out = s.piece(out, text[i:j])
			i = j
			continue
		}
		_, w := utf8.DecodeRuneInString(text[i:])
		i += w
	}
	return out
}

// plain appends a piece of letters and digits: whole, or cut by an exception or before a unit.
func (s *Splitter) plain(out []string, p string) []string {
	if parts, ok := s.exception(p); ok {
		return appendParts(out, p, parts)
	}
	if p[0] <= '9' {
		return s.cut(out, p)
	}
	for i := len(p) - 1; i > 0; i-- { // a unit may follow a digit anywhere
		if p[i] <= '9' {
			return s.cut(out, p)
		}
	}
	return append(out, p)
}

func appendParts(out []string, p string, parts []string) []string {
	for _, x := range parts {
		out = append(out, p[:len(x)])
		p = p[len(x):]
	}
	return out
}

// piece appends the words of a run of characters without white space.
func (s *Splitter) piece(out []string, p string) []string {
	if parts, ok := s.exception(p); ok {
		return appendParts(out, p, parts)
	}
	n := len(out)
	out = s.cut(out, p)
	if len(out)-n > 1 {
		out = s.join(out, n)
	}
	return out
}

// join puts exceptions together that were cut apart: of words that follow one another, the longest exception first.
func (s *Splitter) join(out []string, from int) []string {
	type span struct{ at, n int }
	var found []span
	for i := from; i < len(out); i++ {
		for _, w := range s.phrases[out[i]] {
			if len(w) <= len(out)-i && equal(w, out[i:i+len(w)]) {
				found = append(found, span{i, len(w)})
			}
		}
	}
	if found == nil {
		return out
	}
	taken := make([]int, len(out)-from) // length of the exception that begins here, -1 inside one
	for n := len(out); n > 1; n-- {
		for _, f := range found {
			if f.n == n && taken[f.at-from] == 0 && taken[f.at+n-1-from] == 0 {
				for i := range n {
					taken[f.at+i-from] = -1
				}
				taken[f.at-from] = n
			}
		}
	}
	words := append([]string(nil), out[from:]...)
	out = out[:from]
	for i := 0; i < len(words); i++ {
		n := taken[i]
		if n <= 0 {
			out = append(out, words[i])
			continue
		}
		key := strings.Join(words[i:i+n], "")
		out = append(out, s.special[key]...)
		i += n - 1
	}
	return out
}

func equal(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// cut takes prefixes and suffixes off a piece until none is left or an exception is, and cuts what remains at its infixes.
func (s *Splitter) cut(out []string, p string) []string {
	var buf [16]string
	suffixes := buf[:0]
	for last := -1; p != "" && len(p) != last; {
		if s.isSpecial(p) {
			break
		}
		last = len(p)
		pre := s.prefix(p)
		if pre > 0 && pre < len(p) && s.isSpecial(p[pre:]) {
			out = append(out, p[:pre])
			p = p[pre:]
			break
		}
		suf := s.suffix(p[pre:])
		if suf > 0 && suf < len(p) && s.isSpecial(p[:len(p)-suf]) {
			suffixes = append(suffixes, p[len(p)-suf:])
			p = p[:len(p)-suf]
			break
		}
		switch {
		case pre > 0 && suf > 0 && pre+suf <= len(p):
			out = append(out, p[:pre])
			suffixes = append(suffixes, p[len(p)-suf:])
			p = p[pre : len(p)-suf]
		case pre > 0:
			out = append(out, p[:pre])
			p = p[pre:]
		case suf > 0:
			suffixes = append(suffixes, p[len(p)-suf:])
			p = p[:len(p)-suf]
		}
	}
	if p != "" {
		if parts, ok := s.exception(p); ok {
			out = appendParts(out, p, parts)
		} else if isURL(p) {
			out = append(out, p)
		} else {
			out = s.infixes(out, p)
		}
	}
	for i := len(suffixes) - 1; i >= 0; i-- {
		out = append(out, suffixes[i])
	}
	return out
}

// exception is the parts of a piece that is an exception.
func (s *Splitter) exception(p string) ([]string, bool) {
	if p == "" || len(p) > s.maxLen {
		return nil, false
	}
	if last := p[len(p)-1]; s.edges[p[0]][last>>6]&(1<<(last&63)) == 0 {
		return nil, false
	}
	parts, ok := s.special[p]
	return parts, ok
}

func (s *Splitter) isSpecial(p string) bool {
	_, ok := s.exception(p)
	return ok
}

// infixes cuts a piece at its infixes. One at the very beginning does not count.
func (s *Splitter) infixes(out []string, p string) []string {
	start := 0
	before := uint16(0)
	for i := 0; i < len(p); {
		c := p[i]
		if c < utf8.RuneSelf && s.plainish[c] {
			before = lowFlags[c]
			i++
			continue
		}
		r, w := utf8.DecodeRuneInString(p[i:])
		f := flags(r)
		n := 0
		if f&icon != 0 || r == '…' {
			n = w
		} else if f&alpha == 0 {
			n = s.l.infix(before, flags(first(p[i+w:])), p[i:])
		}
		if n == 0 {
			before = f
			i += w
			continue
		}
		last, _ := utf8.DecodeLastRuneInString(p[i : i+n])
		before = flags(last)
		if i > 0 {
			if i > start {
				out = append(out, p[start:i])
			}
			out = append(out, p[i:i+n])
			start = i + n
		}
		i += n
	}
	if start < len(p) {
		out = append(out, p[start:])
	}
	return out
}

// first is the first character of s, 0 if there is none.
func first(s string) rune {
	if s == "" {
		return 0
	}
	if c := s[0]; c < utf8.RuneSelf {
		return rune(c)
	}
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func size(r rune) int { return max(1, utf8.RuneLen(r)) }

// dots counts the full stops at the beginning of s.
func dots(s string) int {
	n := 0
	for n < len(s) && s[n] == '.' {
		n++
	}
	return n
}

// sentenceEnds are the words that end a sentence: the marks of spaCy's sentencizer.
var sentenceEnds = func() map[string]bool {
	m := map[string]bool{}
	for _, r := range "!.?։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？𐩖𐩗𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼" +
		"𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑩂𑩃𑪛𑪜𑱁𑱂𖩮𖩯𖫵𖬷𖬸𖭄𛲟𝪈｡。" {
		m[string(r)] = true
	}
	return m
}()

// Sentences are the sentences in order. White space after a space begins the sentence that follows it; white space at the end of the text
// is a sentence of its own.
func (s *Splitter) Sentences(text string) []rules.Span {
	var out []rules.Span
	start, end := -1, 0 // of the open sentence
	seen := false
	token := func(from, to int, ends, mark bool) {
		if start < 0 {
			start = from
		} else if seen && !mark && !ends {
			out = append(out, rules.Span{Start: start, End: end})
			start, seen = from, false
		}
		seen = seen || ends
		end = to
	}
	var buf []string
	for i := 0; i < len(text); {
		r, w := utf8.DecodeRuneInString(text[i:])
		if rules.IsSpace(r) {
			j := i
			for j < len(text) {
				r, w := utf8.DecodeRuneInString(text[j:])
				if !rules.IsSpace(r) {
					break
				}
				j += w
			}
			from := i
			if r == ' ' && i > 0 {
				from++ // the space that ends a word belongs to none
			}
			if from < j {
				token(from, j, false, false)
			}
			i = j
			continue
		}
		j := i + w
		for j < len(text) {
			r, w := utf8.DecodeRuneInString(text[j:])
			if rules.IsSpace(r) {
				break
			}
			j += w
		}
		buf = s.piece(buf[:0], text[i:j])
		for _, x := range buf {
			token(i, i+len(x), sentenceEnds[x], isPunct(x))
			i += len(x)
		}
	}
	if start >= 0 {
		out = append(out, rules.Span{Start: start, End: end})
	}
	return out
}

func isPunct(w string) bool {
	for _, r := range w {
		if !unicode.IsPunct(r) {
			return false
		}
	}
	return true
}
