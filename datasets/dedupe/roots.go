package dedupe

import "fmt"

// joinWidth: label, order, two IDs.
const joinWidth = 32

func beginJoin(p *Plan, _ Step, before []done) ([]task, error) {
	st, err := p.load("end")
	if err != nil {
		return nil, err
	}
	if all, _ := collect(before, func(d *done) []output { return d.Edges }); len(all) > 0 {
		st.Files = paths(all)
	}
	linked, err := p.load("links")
	if err != nil {
		return nil, err
	}
	st.Links, st.Parts = linked.Links, linked.Parts
	if err := p.save("join", st); err != nil || len(st.Links) == 0 {
		return pass, err
	}
	return numbered(st.Parts), nil
}

// join gives the links of a part of the documents the labels of their clusters: the least of a document and what it has an edge to.
func join(p *Plan, _ Step, t task) (d done, err error) {
	st, err := p.load("join")
	if err != nil {
		return d, err
	}
	labels, err := merge(st.Files, edgeWidth, portion(t.N, st.Parts))
	if err != nil {
		return d, err
	}
	defer labels.Close()
	missing := fmt.Errorf("a linked document has no label; the files in %s changed while this ran", p.Dir)
	// node is the document of labels that was read last, which comes in the order of the links.
	var node, label ID
	at := -1
	out := p.spill(p.path("joined", 0, t.N), joinWidth, parts)
	err = each(st.Links, linkWidth, portion(t.N, st.Parts), func(section int, rec []byte) error {
		of := readID(rec)
		for at < section || at == section && node.Compare(of) < 0 {
			k, edge, ok, err := labels.Next()
			if err != nil {
				return err
			}
			if !ok {
				return missing
			}
			if next := readID(edge); k != at || next != node {
				at, node, label = k, next, next
				if near := readID(edge[8:]); near.Compare(next) < 0 {
					label = near
				}
			}
		}
		if at != section || node != of {
			return missing
		}
		k := place(label)
		out.sections[k] = append(append(appendID(out.sections[k], label), rec[16:24]...), rec[:16]...)
		return out.added()
	})
	if err != nil {
		return d, err
	}
	d.Runs, err = out.close()
	return d, err
}

func beginRoots(p *Plan, _ Step, before []done) ([]task, error) {
	all, n := collect(before, func(d *done) []output { return d.Runs })
	st := &state{Files: paths(all), Parts: p.portions(n)}
	if err := p.save("roots", st); err != nil || n == 0 {
		return pass, err
	}
	return numbered(st.Parts), nil
}

// roots writes the removals of the clusters of a part: all but the root, which uniting the links in datatrove's order gives; all documents
// of a cluster that touches the index.
func roots(p *Plan, _ Step, t task) (d done, err error) {
	st, err := p.load("roots")
	if err != nil {
		return d, err
	}
	out := p.spill(p.path("removed", 0, t.N), removalWidth, 1)
	out.sampled = true
	var label ID
	var pairs []Pair
	flush := func() error {
		for _, c := range Clusters(pairs) {
			kept := c.Kept
			if label == FromIndex {
				kept = FromIndex
			}
			for _, id := range c.IDs {
				if id == kept {
					continue
				}
				out.sections[0] = appendRemoval(out.sections[0], id, 0, kept)
				if err := out.added(); err != nil {
					return err
				}
			}
		}
		pairs = pairs[:0]
		return nil
	}
	err = each(st.Files, joinWidth, portion(t.N, st.Parts), func(_ int, rec []byte) error {
		if of := readID(rec); of != label {
			if err := flush(); err != nil {
				return err
			}
			label = of
		}
		pairs = append(pairs, Pair{readID(rec[16:]), readID(rec[24:])})
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return d, err
	}
	d.Runs, err = out.close()
	return d, err
}
