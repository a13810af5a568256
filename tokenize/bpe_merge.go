package tokenize

import (
	"math/bits"
)

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

// pair is a merge that can be made, in the heap of a long word.
type pair struct {
	rank, pos, to int32
}

// smallWord is the number of symbols up to which looking for the best pair
// again after each merge is faster than a heap.
const smallWord = 24

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
