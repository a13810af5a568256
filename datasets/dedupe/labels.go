package dedupe

import "slices"

// Label propagation finds the same clusters as [Clusters] by rounds, each of which looks only at one document and what touches it, so that
// a round can be a grouping on any number of machines. The result does not depend on the order of anything: each document ends with the
// smallest ID of its cluster, which is the one kept. Rounds alternate [LargeStar] and [SmallStar] (Kiveris et al. 2014, "Connected
// Components in MapReduce and Beyond"), O(log² n) of them, until neither changes the links.

// LargeStar links each larger neighbour of a document to the least of it and its neighbours. Neighbours are in both directions.
func LargeStar(node ID, neighbours []ID) []Pair { return stars(node, neighbours, false) }

// SmallStar links the document and its smaller neighbours to the least of them.
func SmallStar(node ID, neighbours []ID) []Pair { return stars(node, neighbours, true) }

func stars(node ID, neighbours []ID, small bool) []Pair {
	near := slices.Clone(neighbours)
	slices.SortFunc(near, ID.Compare)
	var out []Pair
	s := star{small: small}
	for _, n := range slices.Compact(near) {
		_ = s.see(node, n, func(least, of ID) error {
			out = append(out, Pair{least, of})
			return nil
		})
	}
	return tidy(out)
}

// star is [LargeStar] or [SmallStar] of documents whose neighbours come in order, so that none is held, however many there are: the first
// is the least.
type star struct {
	small       bool
	node, least ID
	begun       bool
}

// see gets a document and its next neighbour.
func (s *star) see(node, near ID, link func(least, of ID) error) error {
	first := !s.begun || s.node != node
	if first {
		s.begun, s.node, s.least = true, node, node
		if near.Compare(node) < 0 {
			s.least = near
		}
	}
	if c := near.Compare(node); c == 0 || (c < 0) != s.small {
		return nil
	}
	if s.small && first { // near is the least: the document itself is linked to it
		return link(s.least, node)
	}
	return link(s.least, near)
}

// tidy sorts pairs and drops repeated ones.
func tidy(pairs []Pair) []Pair {
	slices.SortFunc(pairs, func(x, y Pair) int {
		if c := x.A.Compare(y.A); c != 0 {
			return c
		}
		return x.B.Compare(y.B)
	})
	return slices.Compact(pairs)
}

// Propagate runs the rounds in memory and returns, for each document that is not the least of its cluster, the pair of the least and it,
// sorted; and the number of rounds.
func Propagate(pairs []Pair) ([]Pair, int) {
	round := func(pairs []Pair, f func(ID, []ID) []Pair) []Pair {
		near := map[ID][]ID{}
		for _, p := range pairs {
			near[p.A], near[p.B] = append(near[p.A], p.B), append(near[p.B], p.A)
		}
		var out []Pair
		for n, ns := range near {
			out = append(out, f(n, ns)...)
		}
		return tidy(out)
	}
	links := make([]Pair, 0, len(pairs))
	for _, p := range pairs {
		if c := p.A.Compare(p.B); c < 0 {
			links = append(links, p)
		} else if c > 0 {
			links = append(links, Pair{p.B, p.A})
		}
	}
	links = tidy(links)
	for rounds := 1; ; rounds++ {
		next := round(round(links, LargeStar), SmallStar)
		if slices.Equal(next, links) {
			return links, rounds
		}
		links = next
	}
}
