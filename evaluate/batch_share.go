package evaluate

import (
	"cmp"
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
)

// What sequences of one owner begin with is read once: a sequence that joins takes the rows of the cache of the longest beginning that it
// has in common with one that lives, or whose rows nobody has needed since it left. A row is the same whoever reads it, and in whatever
// piece, so that nothing that is said depends on it.

// warm are the rows of a sequence that has left.
type warm struct {
	owner    string
	slot     int
	at, need int
	ids      []int32 // whose rows they are
}

const (
	leastShared = 16  // tokens that are worth taking
	mostWarm    = 256 // sequences whose rows are remembered
)

// Cached is how many tokens of the prompt were not read, for their rows were in the cache already.
func (q *Sequence) Cached() int { return q.cached }

// region is a part of the cache.
type region struct{ at, need int }

// place finds rows for a sequence, -1 for none: free ones, or, the longest unused first, those of sequences that have left. Those that q
// begins with go last.
func (b *Batch) place(need int, q *Sequence) int {
	best, _ := b.common(q)
	for {
		if at := b.free(need); at >= 0 {
			return at
		}
		if len(b.warm) == 0 {
			return -1
		}
		i := 0
		if len(b.warm) > 1 && best.at == b.warm[0].at {
			i = 1
		}
		b.warm = slices.Delete(b.warm, i, i+1)
	}
}

// free is the first place with so many free rows, -1 for none.
func (b *Batch) free(need int) int {
	var taken []region
	for _, l := range b.live {
		taken = append(taken, region{l.at, l.need})
	}
	for _, w := range b.warm {
		taken = append(taken, region{w.at, w.need})
	}
	slices.SortFunc(taken, func(x, y region) int { return cmp.Compare(x.at, y.at) })
	at := 0
	for _, t := range taken {
		if t.at-at >= need {
			break
		}
		at = (t.at + t.need + kernels.CacheAlign - 1) / kernels.CacheAlign * kernels.CacheAlign
	}
	if at+need > b.room() {
		return -1
	}
	return at
}

// common is the sequence with which q has the most tokens in common, and how many; at least one of q's is left to be read. Its at is -1
// where there is none.
func (b *Batch) common(q *Sequence) (best warm, n int) {
	best.at = -1
	if !b.shares || q.Owner == "" || q.Echo {
		return best, 0
	}
	n = leastShared - 1
	look := func(w warm) {
		if w.owner != q.Owner || w.slot != q.Slot {
			return
		}
		if same := alike(w.ids, q.Prompt[:len(q.Prompt)-1]); same > n {
			best, n = w, same
		}
	}
	for _, l := range b.live {
		look(warm{l.Owner, l.Slot, l.at, l.need, l.ids[:l.past]})
	}
	for _, w := range b.warm {
		look(w)
	}
	if best.at < 0 {
		n = 0
	}
	return best, n
}

// Awaits says whether a sequence should not join yet: another is reading what it begins with, and will have it in the cache.
func (b *Batch) Awaits(q *Sequence) bool {
	if !b.shares || q.Owner == "" || q.Echo {
		return false
	}
	_, n := b.common(q)
	return slices.ContainsFunc(b.live, func(l *Sequence) bool {
		return l.Owner == q.Owner && l.Slot == q.Slot && l.past < len(l.Prompt) &&
			alike(l.Prompt, q.Prompt[:len(q.Prompt)-1]) >= n+leastShared
	})
}

// alike is how many tokens two texts begin with alike.
func alike(x, y []int32) (n int) {
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	return n
}

// share gives a sequence that has its place the rows that are there already.
func (b *Batch) share(q *Sequence) {
	w, n := b.common(q)
	if w.at < 0 {
		return
	}
	b.prog.CopyCache(q.at, w.at, n)
	q.past, q.cached = n, n
	if i := slices.IndexFunc(b.warm, func(x warm) bool { return x.at == w.at }); i >= 0 { // used last
		b.warm = append(slices.Delete(b.warm, i, i+1), w)
	}
}

// keep remembers the rows of a sequence that leaves.
func (b *Batch) keep(q *Sequence) {
	if !b.shares || q.Owner == "" || q.past < leastShared {
		return
	}
	b.warm = slices.DeleteFunc(b.warm, func(w warm) bool { // what it goes on from is in it
		return w.owner == q.Owner && w.slot == q.Slot && len(w.ids) <= q.past && slices.Equal(w.ids, q.ids[:len(w.ids)])
	})
	if len(b.warm) == mostWarm {
		b.warm = b.warm[1:]
	}
	b.warm = append(b.warm, warm{q.Owner, q.Slot, q.at, q.past, slices.Clone(q.ids[:q.past])})
}
