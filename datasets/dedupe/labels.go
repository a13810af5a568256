package dedupe

import "slices"

// Label propagation finds the same clusters as [Clusters] by rounds, each of which looks only at one document and what touches it, so that
// a round can be a grouping on any number of machines. The result does not depend on the order of anything: each document ends with the
// smallest ID of its cluster, which is the one kept. Rounds alternate [LargeStar] and [SmallStar] (Kiveris et al. 2014, "Connected
// Components in MapReduce and Beyond"), O(log² n) of them, until neither changes the links.

// LargeStar links each larger neighbour of a document to the least of it and its neighbours. Neighbours are in both directions.
func LargeStar(node ID, neighbours []ID) []Pair { return star(node, neighbours, false) }

// SmallStar links the document and its smaller neighbours to the least of them.
func SmallStar(node ID, neighbours []ID) []Pair { return star(node, neighbours, true) }

func star(node ID, neighbours []ID, small bool) []Pair {
	least := node
	for _, n := range neighbours {
		if n.Compare(least) < 0 {
			least = n
		}
	}
	var out []Pair
	for _, n := range neighbours {
		if c := n.Compare(node); c != 0 && (c < 0) == small && n != least {
			out = append(out, Pair{least, n})
		}
	}
	if small && node != least {
		out = append(out, Pair{least, node})
	}
	return tidy(out)
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
