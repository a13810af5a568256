package parts

import (
	"iter"
	"slices"
)

// Set is records in memory, in any order, on their way to a file.
type Set struct {
	width int
	data  []byte
	at    []placed
}

type placed struct {
	place uint64
	off   int
}

// NewSet makes an empty set of records of a width, 0 where they differ.
func NewSet(width int) *Set { return &Set{width: width} }

// Add adds a record, whose bytes it copies. A record of another width panics.
func (s *Set) Add(place uint64, b []byte) {
	s.at = append(s.at, placed{place, len(s.data)})
	s.data = appendRecord(s.data, s.width, place, b)
}

// Len is how many records there are.
func (s *Set) Len() int { return len(s.at) }

// Bytes is what the set takes in memory.
func (s *Set) Bytes() int64 { return int64(cap(s.data)) + 16*int64(cap(s.at)) }

// Reset empties the set; what it took is used again.
func (s *Set) Reset() { s.data, s.at = s.data[:0], s.at[:0] }

// body is the bytes of a record.
func (s *Set) body(p placed) []byte {
	_, b, _ := cut(s.data[p.off:], s.width)
	return b
}

// Sort puts the records in the order of their places and, of one place, of their bytes; distinct drops those that are equal to the one
// before.
func (s *Set) Sort(distinct bool) {
	slices.SortFunc(s.at, func(a, b placed) int {
		if a.place != b.place {
			if a.place < b.place {
				return -1
			}
			return 1
		}
		return compare(0, s.body(a), 0, s.body(b))
	})
	if distinct {
		s.at = slices.CompactFunc(s.at, func(a, b placed) bool {
			return a.place == b.place && compare(0, s.body(a), 0, s.body(b)) == 0
		})
	}
}

// All gives the records in the order that they have.
func (s *Set) All() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for _, p := range s.at {
			if !yield(p.place, s.body(p)) {
				return
			}
		}
	}
}

// Write sorts the records and writes them as a file of parts of a key's range, as [Create] and [Writer.Close] do. distinct leaves out
// records that are there already.
func (s *Set) Write(path string, key int64, distinct bool) (all []Slice, whole Slice, err error) {
	s.Sort(distinct)
	w, err := Create(path, key, s.width)
	if err != nil {
		return nil, whole, err
	}
	defer w.Abort()
	if err := w.WriteAll(s.All(), false); err != nil {
		return nil, whole, err
	}
	return w.Close()
}
