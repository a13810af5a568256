package rules

import "sync"

// ngramTable counts substrings of one buffer exactly: slots are found by a polynomial hash and checked by comparing the bytes.
type ngramTable struct {
	slots []ngramSlot
	epoch uint32
	mask  uint64
	// of the buffer
	buf    []byte
	hash   []uint64 // hash[i] is that of the first i words
	pow    []uint64 // pow[k] = base^k
	off    []int32  // off[i] is where word i begins, off[len(words)] the end
	chars  []int32  // code points before word i
	joined bool     // words joined by a space
}

type ngramSlot struct {
	hash       uint64
	epoch      uint32
	start, end int32
	count      int32
}

const ngramBase = 0x9e3779b97f4a7c15 | 1

var ngramTables = sync.Pool{New: func() any { return &ngramTable{} }}

// load puts the words into the buffer, each followed by a space if joined.
func (t *ngramTable) load(words []string, joined bool) {
	t.joined = joined
	t.buf, t.hash, t.off, t.chars = t.buf[:0], t.hash[:0], t.off[:0], t.chars[:0]
	var h uint64
	chars := int32(0)
	for _, w := range words {
		t.off, t.hash, t.chars = append(t.off, int32(len(t.buf))), append(t.hash, h), append(t.chars, chars)
		t.buf = append(t.buf, w...)
		for i := 0; i < len(w); i++ {
			h = h*ngramBase + uint64(w[i]) + 1
			if w[i]&0xc0 != 0x80 {
				chars++
			}
		}
		if joined {
			t.buf = append(t.buf, ' ')
			h = h*ngramBase + ' ' + 1
			chars++
		}
	}
	t.off, t.hash, t.chars = append(t.off, int32(len(t.buf))), append(t.hash, h), append(t.chars, chars)
	if len(t.pow) == 0 {
		t.pow = append(t.pow, 1)
	}
	for len(t.pow) <= len(t.buf) {
		t.pow = append(t.pow, t.pow[len(t.pow)-1]*ngramBase)
	}
	size := 64
	for size < 2*len(words) {
		size *= 2
	}
	if size > len(t.slots) {
		t.slots, t.epoch = make([]ngramSlot, size), 0
	}
	t.mask = uint64(len(t.slots) - 1)
}

// reset forgets what was counted.
func (t *ngramTable) reset() {
	if t.epoch++; t.epoch == 0 {
		clear(t.slots)
		t.epoch = 1
	}
}

// find returns the slot of the words from i to j, and whether it is new.
func (t *ngramTable) find(i, j int) (*ngramSlot, bool) {
	s, e := t.off[i], t.off[j]
	h := t.hash[j] - t.hash[i]*t.pow[e-s]
	for k := (h ^ h>>29) * 0xbf58476d1ce4e5b9 >> 20 & t.mask; ; k = (k + 1) & t.mask {
		slot := &t.slots[k]
		if slot.epoch != t.epoch {
			*slot = ngramSlot{hash: h, epoch: t.epoch, start: s, end: e}
			return slot, true
		}
		if slot.hash == h && string(t.buf[slot.start:slot.end]) == string(t.buf[s:e]) {
			return slot, false
		}
	}
}

// length is that of the words from i to j in code points, with the spaces between them if joined.
func (t *ngramTable) length(i, j int) int {
	n := int(t.chars[j] - t.chars[i])
	if t.joined {
		n--
	}
	return n
}

// top is the length of the most frequent n-gram times its count, ties going to the first seen; false if there is no n-gram.
func (t *ngramTable) top(words, n int) (int, bool) {
	if words < n {
		return 0, false
	}
	t.reset()
	best := int32(0)
	for i := 0; i+n <= words; i++ {
		s, _ := t.find(i, i+n)
		s.count++
		best = max(best, s.count)
	}
	for i := 0; i+n <= words; i++ {
		if s, _ := t.find(i, i+n); s.count == best {
			return t.length(i, i+n) * int(best), true
		}
	}
	panic("rules: no n-gram has the largest count")
}

// repeated is the length of the n-grams seen before, each hit skipping its words.
func (t *ngramTable) repeated(words, n int) int {
	t.reset()
	chars := 0
	for i := 0; i+n <= words; {
		if _, fresh := t.find(i, i+n); fresh {
			i++
			continue
		}
		chars += t.length(i, i+n)
		i += n
	}
	return chars
}

// EachGram calls f for each n words in a row, joined by spaces, until it returns false. f must not keep the slice.
func EachGram(words []string, n int, f func(gram []byte) bool) {
	if len(words) < n {
		return
	}
	buf := make([]byte, 0, 8*len(words))
	start := make([]int, 0, len(words)+1)
	for _, w := range words {
		start = append(start, len(buf))
		buf = append(append(buf, w...), ' ')
	}
	start = append(start, len(buf))
	for i := 0; i+n <= len(words); i++ {
		if !f(buf[start[i] : start[i+n]-1]) {
			return
		}
	}
}
