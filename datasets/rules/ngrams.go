package rules

import "sync"

// ngramTable counts n-grams of the words of one text exactly: slots are found by a polynomial hash and checked by comparing the bytes.
type ngramTable struct {
	slots []ngramSlot
	epoch uint16
	mask  uint64  // of the part of the slots that this text needs, so that a small one stays in the cache
	at    []int32 // the slot of each n-gram
	pow   []uint64
	forms [2]ngramText // of the words as they are, and with a space after each
	*ngramText
}

// ngramText is the words in a buffer.
type ngramText struct {
	buf   []byte
	hash  []uint64 // hash[i] is that of the first i words
	off   []int32  // off[i] is where word i begins, off[len(words)] the end
	chars []int32  // code points before word i
	space int      // 1 if a space follows each word
}

// ngramSlot holds an n-gram that begins at a word; its count, and what its hash says, are worth the slot's epoch.
type ngramSlot struct {
	tag   uint64 // the hash without its lowest 16 bits, which are the epoch
	start int32
	count int32
}

const ngramBase = 0x9e3779b97f4a7c15 | 1

var ngramTables = sync.Pool{New: func() any { return &ngramTable{} }}

// load takes the words of a text.
func (t *ngramTable) load(words []string) {
	size := 0
	for _, w := range words {
		size += len(w) + 1
	}
	if len(t.pow) == 0 {
		t.pow = append(t.pow, 1)
	}
	for len(t.pow) <= size {
		t.pow = append(t.pow, t.pow[len(t.pow)-1]*ngramBase)
	}
	a, b := &t.forms[0], &t.forms[1]
	b.space = 1
	for _, f := range []*ngramText{a, b} {
		f.buf, f.hash, f.off, f.chars = f.buf[:0], append(f.hash[:0], 0), append(f.off[:0], 0), append(f.chars[:0], 0)
	}
	for i, w := range words {
		var h uint64 // of the word alone
		chars := int32(0)
		for k := 0; k < len(w); k++ {
			h = h*ngramBase + uint64(w[k]) + 1
			if w[k]&0xc0 != 0x80 {
				chars++
			}
		}
		pow := t.pow[len(w)]
		a.buf, b.buf = append(a.buf, w...), append(append(b.buf, w...), ' ')
		a.hash, b.hash = append(a.hash, a.hash[i]*pow+h), append(b.hash, (b.hash[i]*pow+h)*ngramBase+' '+1)
		a.off, b.off = append(a.off, int32(len(a.buf))), append(b.off, int32(len(b.buf)))
		a.chars, b.chars = append(a.chars, a.chars[i]+chars), append(b.chars, b.chars[i]+chars+1)
	}
	slots := 64
	for slots < 2*len(words) {
		slots *= 2
	}
	if slots > len(t.slots) {
		t.slots, t.epoch = make([]ngramSlot, slots), 0
	}
	t.mask = uint64(slots - 1)
}

// take chooses the words as they are, or joined by spaces.
func (t *ngramTable) take(joined bool) {
	t.ngramText = &t.forms[0]
	if joined {
		t.ngramText = &t.forms[1]
	}
}

// reset forgets what was counted.
func (t *ngramTable) reset() {
	if t.epoch++; t.epoch == 0 {
		clear(t.slots)
		t.epoch = 1
	}
}

// find returns the number of the slot of the n words from i on, and whether it is new. Between two resets n must not change.
func (t *ngramTable) find(i, n int) (uint64, bool) {
	s, e := t.off[i], t.off[i+n]
	h := t.hash[i+n] - t.hash[i]*t.pow[e-s]
	tag := h&^0xffff | uint64(t.epoch)
	for k := (h ^ h>>29) * 0xbf58476d1ce4e5b9 >> 20 & t.mask; ; k = (k + 1) & t.mask {
		slot := &t.slots[k]
		if slot.tag == tag {
			if string(t.buf[t.off[slot.start]:t.off[int(slot.start)+n]]) == string(t.buf[s:e]) {
				return k, false
			}
		} else if uint16(slot.tag) != t.epoch {
			*slot = ngramSlot{tag: tag, start: int32(i)}
			return k, true
		}
	}
}

// length is that of the words from i to j in code points, with the spaces between them if joined.
func (t *ngramTable) length(i, j int) int {
	return int(t.chars[j]-t.chars[i]) - t.space
}

// top is the length of the most frequent n-gram times its count, ties going to the first seen; false if there is no n-gram.
func (t *ngramTable) top(words, n int) (int, bool) {
	if words < n {
		return 0, false
	}
	t.reset()
	best := int32(0)
	t.at = t.at[:0]
	for i := 0; i+n <= words; i++ {
		k, _ := t.find(i, n)
		t.at = append(t.at, int32(k))
		s := &t.slots[k]
		s.count++
		best = max(best, s.count)
	}
	for i, k := range t.at {
		if t.slots[k].count == best {
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
		if _, fresh := t.find(i, n); fresh {
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
