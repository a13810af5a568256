package tokenize

import (
	"strings"
	"unicode/utf8"
)

// bpe is a byte-pair encoding model. It is read-only after loading.
type bpe struct {
	vocab        map[string]int32 // by spelling
	words        map[string]int32 // by text, only with ignoreMerges
	merges       mergeTable
	byteLevel    bool // symbols are bytes
	ignoreMerges bool
	byteFallback bool
	fuseUnk      bool
	unk          int32       // -1: unknown symbols are dropped
	byteID       [256]int32  // byte-level: the symbol of a byte; else of <0xXX>
	innerID      *[256]int32 // byte-level: of a byte that is neither first nor last, with a prefix or suffix
	lastID       *[256]int32 // of the last byte
	onlyID       *[256]int32 // of a byte that is a whole word
	prefix       string      // continuing_subword_prefix
	suffix       string      // end_of_word_suffix
	cuts         *cutter     // where no merge reaches across
	allBytes     bool        // byteID is complete
}

// symbol is a part of a word: its id, its length in bytes, its neighbours.
type symbol struct {
	id, n      int32
	prev, next int32 // -1 at the ends
	same       bool  // stands for the same text as the one before it
	rank       int32 // of merging with the next, small words only
	to         int32 // result of that merge
}

// scratch is the working memory of one encoder.
type scratch struct {
	syms []symbol
	heap []pair
	pops int // merges taken off the heap, a measure of the work
	best []lattice
}

func (m *bpe) ids() map[string]int32 { return m.vocab }
func (m *bpe) spellings() []string   { return nil }

// encode splits a word into symbols, s.syms[i] from i=0 along next.
func (m *bpe) encode(s *scratch, word string) {
	s.syms = s.syms[:0]
	if m.ignoreMerges {
		if id, ok := m.words[word]; ok {
			s.add(id, int32(len(word)))
			s.link()
			return
		}
	}
	if m.byteLevel {
		m.split(s, word)
	} else {
		m.splitRunes(s, word)
	}
	s.link()
	if len(s.syms) <= smallWord {
		m.mergeSmall(s)
	} else {
		m.mergeHeap(s)
	}
}

func (s *scratch) add(id, n int32) { s.syms = append(s.syms, symbol{id: id, n: n}) }

func (s *scratch) link() {
	for i := range s.syms {
		s.syms[i].prev, s.syms[i].next = int32(i-1), int32(i+1)
	}
	if n := len(s.syms); n > 0 {
		s.syms[n-1].next = -1
	}
}

// split makes a symbol of each byte. Bytes without a symbol become the unknown
// token or are dropped.
func (m *bpe) split(s *scratch, word string) {
	if m.allBytes {
		for i := range len(word) {
			s.add(m.byteID[word[i]], 1)
		}
		return
	}
	unk := int32(0) // length of the pending unknown
	for i := range len(word) {
		ids := &m.byteID
		switch last := i+1 == len(word); {
		case m.innerID == nil:
		case i == 0 && last:
			ids = m.onlyID
		case last:
			ids = m.lastID
		case i > 0:
			ids = m.innerID
		}
		if id := ids[word[i]]; id >= 0 {
			unk = m.flush(s, unk)
			s.add(id, 1)
		} else {
			unk = m.unknown(s, unk, 1)
		}
	}
	m.flush(s, unk)
}

// splitRunes makes a symbol of each character, or of its bytes with byte
// fallback, or the unknown token.
func (m *bpe) splitRunes(s *scratch, word string) {
	unk, first := int32(0), true
	for i := 0; i < len(word); first = false {
		n := 1
		if word[i] >= utf8.RuneSelf {
			_, n = utf8.DecodeRuneInString(word[i:])
		}
		c := word[i : i+n]
		i += n
		if m.prefix != "" && !first {
			c = m.prefix + c
		}
		if m.suffix != "" && i == len(word) {
			c += m.suffix
		}
		if id, ok := m.vocab[c]; ok {
			unk = m.flush(s, unk)
			s.add(id, int32(n))
			continue
		}
		if m.byteFallback && m.hasBytes(c) {
			for k := range len(c) {
				s.add(m.byteID[c[k]], 1)
			}
			continue
		}
		unk = m.unknown(s, unk, int32(n))
	}
	m.flush(s, unk)
}

func (m *bpe) hasBytes(c string) bool {
	for k := range len(c) {
		if m.byteID[c[k]] < 0 {
			return false
		}
	}
	return true
}

func (m *bpe) unknown(s *scratch, pending, n int32) int32 {
	if m.unk < 0 {
		return 0
	}
	if pending > 0 && !m.fuseUnk {
		m.flush(s, pending)
		pending = 0
	}
	return pending + n
}

func (m *bpe) flush(s *scratch, pending int32) int32 {
	if pending > 0 {
		s.add(m.unk, pending)
	}
	return 0
}

// byteToken is the spelling of a fallback byte.
func byteToken(b int) string {
	const hex = "0123456789ABCDEF"
	return "<0x" + string(hex[b>>4]) + string(hex[b&15]) + ">"
}

// newBPE builds the model from the vocabulary and the merges, pairs of
// spellings in order of rank; prefix begins the spelling of every part of a word
// but the first, suffix ends that of the last.
func newBPE(vocab map[string]int32, merges [][2]string, byteLevel bool, prefix, suffix string) (*bpe, error) {
	m := &bpe{vocab: vocab, byteLevel: byteLevel, unk: -1, merges: newMergeTable(len(merges)), prefix: prefix, suffix: suffix}
	for rank, p := range merges {
		a, ok1 := vocab[p[0]]
		b, ok2 := vocab[p[1]]
		to, ok3 := vocab[p[0]+strings.TrimPrefix(p[1], prefix)]
		if !ok1 || !ok2 || !ok3 {
			return nil, &mergeError{rank, p}
		}
		m.merges.put(a, b, int32(rank), to)
	}
	byteIDs := func(prefix, suffix string) (ids [256]int32, all bool) {
		all = true
		for b := range 256 {
			tok := byteToken(b)
			if byteLevel {
				tok = prefix + string(byteRune[b]) + suffix
			}
			id, ok := vocab[tok]
			if !ok {
				id, all = -1, false
			}
			ids[b] = id
		}
		return ids, all
	}
	m.byteID, m.allBytes = byteIDs("", "")
	if byteLevel && prefix+suffix != "" {
		m.allBytes = false
		in, _ := byteIDs(prefix, "")
		last, _ := byteIDs(prefix, suffix)
		only, _ := byteIDs("", suffix)
		m.innerID, m.lastID, m.onlyID = &in, &last, &only
	}
	return m, nil
}

// buildWords fills the table of whole words that ignore_merges asks for.
func (m *bpe) buildWords() {
	m.ignoreMerges = true
	m.words = make(map[string]int32, len(m.vocab))
	for tok, id := range m.vocab {
		if m.byteLevel {
			raw, ok := unmapBytes(tok)
			if !ok {
				continue
			}
			tok = raw
		}
		m.words[tok] = id
	}
}

type mergeError struct {
	rank int
	p    [2]string
}

func (e *mergeError) Error() string {
	return "model.merges: the parts or the result of a merge are not in model.vocab: " +
		strings.Join(e.p[:], " + ")
}
