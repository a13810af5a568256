package datasets

import (
	"math/bits"
	"slices"
)

// packBFD is best-fit decreasing bin packing (Ding et al. 2024, "Fewer Truncations Improve Language Modeling", arXiv 2404.10830), with
// TRL's order: pieces by length, longest first, equal ones in their order; each into the oldest row among those with the smallest room
// that suffices; rows in the order they were begun.
func packBFD(pieces []piece, length int) [][]piece {
	order := slices.Clone(pieces)
	slices.SortStableFunc(order, func(a, b piece) int { return b.len() - a.len() })
	var rows [][]piece
	free := newRoomTree(length)
	byRoom := make([][]int, length) // byRoom[r] = queue of rows with r tokens of room
	for _, p := range order {
		n := p.len()
		room := free.search(n)
		var row int
		if room == length {
			row = len(rows)
			rows = append(rows, nil)
		} else {
			row = byRoom[room][0]
			if byRoom[room] = byRoom[room][1:]; len(byRoom[room]) == 0 {
				free.set(room, 0)
			}
		}
		rows[row] = append(rows[row], p)
		if room -= n; room > 0 {
			byRoom[room] = append(byRoom[room], row)
			free.set(room, room)
		}
	}
	return rows
}

// roomTree finds the smallest present value that is at least a given one: a maximum tree over the values 1..length, length always present.
type roomTree struct {
	size int
	tree []int
}

func newRoomTree(length int) *roomTree {
	size := 1 << bits.Len(uint(length-1))
	t := &roomTree{size: size, tree: make([]int, 2*size)}
	t.set(length, length)
	return t
}

// set stores value (v itself, or 0 to remove) at v's place.
func (t *roomTree) set(v, value int) {
	i := t.size + v - 1
	t.tree[i] = value
	for i >>= 1; i >= 1; i >>= 1 {
		t.tree[i] = max(t.tree[2*i], t.tree[2*i+1])
	}
}

func (t *roomTree) search(v int) int {
	i := 1
	for i < t.size {
		i *= 2
		if t.tree[i] < v {
			i++
		}
	}
	return t.tree[i]
}
