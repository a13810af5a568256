package tokenize

import "unicode/utf8"

// cutter says between which characters a word may be cut without changing what byte-pair encoding makes of it: where no merge joins a token
// that ends in the one to a token that begins with the other. A sentencepiece model without a pre-tokenizer sees a whole text as one word;
// cut before each ▁, the words are short and come back.
type cutter struct {
	joined []uint64 // a bit for (last character, first character) of each merge, by hash; a false positive only leaves a word whole
	shift  uint8
	long   bool // words longer than cutBytes are cut between any two characters
}

// cutBytes is the length above which a word is cut between characters other than before ▁ too.
const cutBytes = 24

const metaRune = '▁'

func newCutter(merges [][2]string, long bool) *cutter {
	bits := uint8(12)
	for 1<<bits < 16*len(merges) && bits < 24 {
		bits++
	}
	c := &cutter{joined: make([]uint64, 1<<(bits-6)), shift: 64 - bits, long: long}
	for _, m := range merges {
		x, _ := utf8.DecodeLastRuneInString(m[0])
		y, _ := utf8.DecodeRuneInString(m[1])
		h := c.hash(x, y)
		c.joined[h>>6] |= 1 << (h & 63)
	}
	return c
}

func (c *cutter) hash(x, y rune) uint64 {
	return ((uint64(uint32(x))<<32 | uint64(uint32(y))) * 0x9E3779B97F4A7C15) >> c.shift
}

func (c *cutter) may(x, y rune) bool {
	h := c.hash(x, y)
	return c.joined[h>>6]>>(h&63)&1 == 0
}

// end is where the word that begins at i ends.
func (c *cutter) end(s string, i int) int {
	prev := rune(-1)
	for j := i; j < len(s); {
		r, n := rune(s[j]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[j:])
		}
		if prev >= 0 && (r == metaRune && prev != metaRune || c.long && j-i >= cutBytes) && c.may(prev, r) {
			return j
		}
		prev = r
		j += n
	}
	return len(s)
}
