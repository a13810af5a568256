package tokenize

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// wordCache maps words to what they were encoded to. Nearly all words have at most 16 bytes: these are two integers and a length, found by
// open addressing with linear probing, at most half full, several times as fast as in a map by string. The others are in such a map.
type wordCache struct {
	slots []wordSlot // a power of two
	used  int
	long  map[string]cached
}

// wordSlot is free when n is 0; a word has at least one byte. It has 32 bytes, half a line of the processor's cache.
type wordSlot struct {
	a, b uint64
	cached
	n int32
}

// shortWord is the longest word of the table, in bytes.
const shortWord = 16

// key is a word of 1 to 16 bytes as integers, which with its length tell it from any other.
func key(word string) (a, b uint64) {
	p := unsafe.Slice(unsafe.StringData(word), len(word))
	switch n := len(p); {
	case n >= 8:
		return binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[n-8:])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(p)) | uint64(binary.LittleEndian.Uint32(p[n-4:]))<<32, 0
	default:
		return uint64(p[0]) | uint64(p[n/2])<<8 | uint64(p[n-1])<<16, 0
	}
}

// slot is where a word is, or would be.
func (c *wordCache) slot(a, b uint64, n int32) *wordSlot {
	h := (a ^ b*0x9E3779B97F4A7C15 ^ uint64(n)) * 0xD6E8FEB86659FD93
	for i := h >> 32; ; i++ {
		s := &c.slots[i&uint64(len(c.slots)-1)]
		if s.n == 0 || s.a == a && s.b == b && s.n == n {
			return s
		}
	}
}

func (c *wordCache) get(word string) (cached, bool) {
	if len(word) > shortWord {
		v, ok := c.long[word]
		return v, ok
	}
	if len(c.slots) == 0 || word == "" {
		return cached{}, false
	}
	a, b := key(word)
	s := c.slot(a, b, int32(len(word)))
	return s.cached, s.n != 0
}

// put adds a word that is not there.
func (c *wordCache) put(word string, v cached) {
	switch {
	case word == "":
		return
	case len(word) > shortWord:
		if c.long == nil {
			c.long = map[string]cached{}
		}
		c.long[strings.Clone(word)] = v
		return
	case 2*(c.used+1) > len(c.slots):
		old := c.slots
		c.slots = make([]wordSlot, max(1<<10, 2*len(old)))
		for i := range old {
			if s := &old[i]; s.n != 0 {
				*c.slot(s.a, s.b, s.n) = *s
			}
		}
	}
	a, b := key(word)
	*c.slot(a, b, int32(len(word))) = wordSlot{a, b, v, int32(len(word))}
	c.used++
}

// words is how many there are.
func (c *wordCache) words() int { return c.used + len(c.long) }

// clear forgets all.
func (c *wordCache) clear() {
	clear(c.slots)
	clear(c.long)
	c.used = 0
}
