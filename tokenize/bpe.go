package tokenize

import (
	"math/bits"
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

// mergeTable maps a pair of ids to the merge's rank and result: open addressing,
// linear probing, at most half full.
type mergeTable struct {
	slots []mergeSlot
	shift uint8
}

type mergeSlot struct {
	key      uint64 // pair + 1; 0 is free
	rank, id int32
}

func newMergeTable(n int) mergeTable {
	b := bits.Len(uint(2*n + 2))
	return mergeTable{slots: make([]mergeSlot, 1<<b), shift: uint8(64 - b)}
}

func (m *mergeTable) slot(a, b int32) (*mergeSlot, uint64) {
	key := (uint64(uint32(a))<<32 | uint64(uint32(b))) + 1
	i := (key * 0x9E3779B97F4A7C15) >> m.shift
	for {
		s := &m.slots[i&uint64(len(m.slots)-1)]
		if s.key == key || s.key == 0 {
			return s, key
		}
		i++
	}
}

// put records a merge; a pair given twice keeps the later rank, as in HF.
func (m *mergeTable) put(a, b, rank, id int32) {
	s, key := m.slot(a, b)
	*s = mergeSlot{key, rank, id}
}

const noRank = int32(1<<31 - 1)

// get is the rank and the result of merging a and b, noRank when there is none.
func (m *mergeTable) get(a, b int32) (rank, id int32) {
	if s, _ := m.slot(a, b); s.key != 0 {
		return s.rank, s.id
	}
	return noRank, -1
}

// symbol is a part of a word: its id, its length in bytes, its neighbours.
type symbol struct {
	id, n      int32
	prev, next int32 // -1 at the ends
	same       bool  // stands for the same text as the one before it
	rank       int32 // of merging with the next, small words only
	to         int32 // result of that merge
}

// pair is a merge that can be made, in the heap of a long word.
type pair struct {
	rank, pos, to int32
}

// scratch is the working memory of one encoder.
type scratch struct {
	syms []symbol
	heap []pair
	pops int // merges taken off the heap, a measure of the work
	best []lattice
}

// smallWord is the number of symbols up to which looking for the best pair
// again after each merge is faster than a heap.
const smallWord = 24

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

// mergeSmall makes the merge of lowest rank, the leftmost of these, until there
// is none.
func (m *bpe) mergeSmall(s *scratch) {
	y := s.syms
	n := len(y)
	if n < 2 {
		return
	}
	for i := 0; i+1 < n; i++ {
		y[i].rank, y[i].to = m.merges.get(y[i].id, y[i+1].id)
	}
	y[n-1].rank = noRank
	for n > 1 {
		best, at := noRank, 0
		for i := range y[:n] {
			if y[i].rank < best {
				best, at = y[i].rank, i
			}
		}
		if best == noRank {
			break
		}
		y[at].id = y[at].to
		y[at].n += y[at+1].n
		y[at].rank = y[at+1].rank // of the end, when it was the last
		copy(y[at+1:n-1], y[at+2:n])
		n--
		if at+1 < n {
			y[at].rank, y[at].to = m.merges.get(y[at].id, y[at+1].id)
		}
		if at > 0 {
			y[at-1].rank, y[at-1].to = m.merges.get(y[at-1].id, y[at].id)
		}
	}
	s.syms = y[:n]
	s.link()
}

// mergeHeap does the same with a heap by rank, then position: n log n.
func (m *bpe) mergeHeap(s *scratch) {
	y := s.syms
	s.heap = s.heap[:0]
	for i := 0; i+1 < len(y); i++ {
		if r, to := m.merges.get(y[i].id, y[i+1].id); r != noRank {
			s.heap = append(s.heap, pair{r, int32(i), to})
		}
	}
	for i := len(s.heap)/2 - 1; i >= 0; i-- {
		s.down(i)
	}
	push := func(i int32) {
		if j := y[i].next; j >= 0 {
			if r, to := m.merges.get(y[i].id, y[j].id); r != noRank {
				s.push(pair{r, i, to})
			}
		}
	}
	for len(s.heap) > 0 {
		s.pops++
		p := s.heap[0]
		last := len(s.heap) - 1
		s.heap[0] = s.heap[last]
		s.heap = s.heap[:last]
		s.down(0)
		a := &y[p.pos]
		if a.n == 0 || a.next < 0 {
			continue
		}
		b := &y[a.next]
		if _, to := m.merges.get(a.id, b.id); to != p.to {
			continue
		}
		a.id = p.to
		a.n += b.n
		b.n = 0
		a.next = b.next
		if a.next >= 0 {
			y[a.next].prev = p.pos
		}
		if a.prev >= 0 {
			push(a.prev)
		}
		push(p.pos)
	}
}

func less(a, b pair) bool { return a.rank < b.rank || a.rank == b.rank && a.pos < b.pos }

func (s *scratch) push(p pair) {
	s.heap = append(s.heap, p)
	h := s.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !less(h[i], h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (s *scratch) down(i int) {
	h := s.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && less(h[c+1], h[c]) {
			c++
		}
		if !less(h[c], h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
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
