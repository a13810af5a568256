package dedupe

import "fmt"

// What the rounds leave is united by one task, which reads the edges of all documents in order and holds only those that are not yet of
// a star: a document whose one neighbour is smaller belongs to where that one does, so that of the edges those alone count that go from a
// document with several neighbours to a smaller one.

// beginEnd has nothing to do where the rounds have ended.
func beginEnd(p *Plan, _ Step, before []done) ([]task, error) {
	st, err := p.load(fmt.Sprintf("small-%d", rounds-1))
	if err != nil {
		return nil, err
	}
	p.edges(st, before)
	if err := p.save("end", st); err != nil || st.Ended {
		return pass, err
	}
	return numbered(1), nil
}

// unite finds the least document of each cluster and writes the edges of its star; nothing where they are stars already.
func unite(p *Plan, _ Step, _ task) (d done, err error) {
	st, err := p.load("end")
	if err != nil {
		return d, err
	}
	u := forest{}
	var node, first ID
	begun, several := false, false
	left := 0
	add := func(a, b ID) error {
		if left++; left > p.Limits.EndLinks {
			return fmt.Errorf("%d rounds leave more than %d links that are not yet of a star, and uniting them would take more than "+
				"%d MiB: documents are linked in very long chains; make links rarer (more hashes_per_bucket), or clean first",
				p.Limits.Rounds, p.Limits.EndLinks, 40*int64(p.Limits.EndLinks)>>20)
		}
		u.unite(a, b)
		return nil
	}
	err = each(st.Files, edgeWidth, portion(0, 1), func(_ int, rec []byte) error {
		of, near := readID(rec), readID(rec[8:])
		if !begun || of != node {
			begun, node, first, several = true, of, near, false
			return nil
		}
		if !several && first.Compare(node) < 0 {
			if err := add(node, first); err != nil {
				return err
			}
		}
		several = true
		if near.Compare(node) < 0 {
			return add(node, near)
		}
		return nil
	})
	if err != nil || left == 0 {
		return d, err
	}
	out := p.spill(p.path("end", 0, 0), edgeWidth, parts)
	begun = false
	err = each(st.Files, edgeWidth, portion(0, 1), func(_ int, rec []byte) error {
		of, near := readID(rec), readID(rec[8:])
		if begun && of == node {
			return nil
		}
		begun, node = true, of
		if near.Compare(of) > 0 {
			near = of
		}
		return addEdge(out, of, u.find(near))
	})
	if err != nil {
		return d, err
	}
	d.Edges, err = out.close()
	return d, err
}

// forest is a union-find over documents whose roots are the least ones. A document that is not in it is alone.
type forest map[ID]ID

func (f forest) find(x ID) ID {
	root := x
	for p, ok := f[root]; ok; p, ok = f[root] {
		root = p
	}
	for x != root {
		x, f[x] = f[x], root
	}
	return root
}

func (f forest) unite(a, b ID) {
	a, b = f.find(a), f.find(b)
	switch c := a.Compare(b); {
	case c < 0:
		f[b] = a
	case c > 0:
		f[a] = b
	}
}
