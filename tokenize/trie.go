package tokenize

// btrie is a trie over bytes for many tokens: edges in one open-addressed table, a value a node.
type btrie struct {
	slots  []uint64 // (node<<8|byte)+1 in the upper 40 bits, child in the lower 24; 0 is free
	used   int
	values []int32 // of a node; -1 where no token ends
}

const trieChild = 1<<24 - 1

func newBtrie() *btrie { return &btrie{slots: make([]uint64, 1<<8), values: []int32{-1}} }

func (t *btrie) slot(key uint64) *uint64 {
	mask := uint64(len(t.slots) - 1)
	for i := (key * 0x9E3779B97F4A7C15) >> 20; ; i++ {
		if s := &t.slots[i&mask]; *s == 0 || *s>>24 == key {
			return s
		}
	}
}

// step is the child of node along b, 0 when there is none.
func (t *btrie) step(node int32, b byte) int32 {
	return int32(*t.slot(uint64(node)<<8 | uint64(b) + 1) & trieChild)
}

// put gives token the value; a token given twice keeps the later one.
func (t *btrie) put(token string, value int32) {
	node := int32(0)
	for i := range len(token) {
		key := uint64(node)<<8 | uint64(token[i]) + 1
		s := t.slot(key)
		if *s == 0 {
			if t.used++; 2*t.used > len(t.slots) {
				old := t.slots
				t.slots = make([]uint64, 2*len(old))
				for _, x := range old {
					if x != 0 {
						*t.slot(x >> 24) = x
					}
				}
				s = t.slot(key)
			}
			*s = key<<24 | uint64(len(t.values))
			t.values = append(t.values, -1)
		}
		node = int32(*s & trieChild)
	}
	t.values[node] = value
}

// longest is the value and the length of the longest token at the start of s; length 0 when there is none.
func (t *btrie) longest(s string) (value int32, n int) {
	node := int32(0)
	for i := range len(s) {
		if node = t.step(node, s[i]); node == 0 {
			break
		}
		if v := t.values[node]; v >= 0 {
			value, n = v, i+1
		}
	}
	return value, n
}
