package dedupe

import "encoding/binary"

// linkWidth: two IDs and the link's place in datatrove's order of links; edgeWidth: two IDs. Links are kept in the place of their first
// document, edges of both.
const (
	linkWidth = 24
	edgeWidth = 16
)

// links writes the neighbours of each band as links and as edges.
type links struct {
	links, edges *spill
	order        uint64
}

// newLinks begins the links of a range. datatrove unites them in the order of the buckets, and in a bucket in that of the keys and IDs,
// which is the order of the sections, the ranges and what they have, wherever ranges begin.
func (p *Plan) newLinks(t task) *links {
	return &links{links: p.spill(p.path("links", t.Section, t.N), linkWidth, parts),
		edges: p.spill(p.path("edges", t.Section, t.N), edgeWidth, parts), order: uint64(t.Section)<<52 | uint64(t.N)<<32}
}

func (l *links) add(before, tail []byte) error {
	if before == nil {
		return nil
	}
	a, b := readID(before), readID(tail)
	k := place(a)
	l.links.sections[k] = binary.BigEndian.AppendUint64(appendID(appendID(l.links.sections[k], a), b), l.order)
	l.order++
	if err := l.links.added(); err != nil {
		return err
	}
	return addBoth(l.edges, a, b)
}

func (l *links) end(d *done) (err error) {
	if d.Links, err = l.links.close(); err != nil {
		return err
	}
	d.Edges, err = l.edges.close()
	return err
}

// addEdge adds an edge to the place of its first end, addBoth to those of both.
func addEdge(s *spill, from, to ID) error {
	k := place(from)
	s.sections[k] = appendID(appendID(s.sections[k], from), to)
	return s.added()
}

func addBoth(s *spill, a, b ID) error {
	if err := addEdge(s, a, b); err != nil {
		return err
	}
	return addEdge(s, b, a)
}
