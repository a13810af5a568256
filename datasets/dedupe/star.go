package dedupe

import "fmt"

// A round of label propagation has two phases, of which each reads the edges of a part of the documents: [LargeStar] of each document, and
// [SmallStar] of each and its smaller neighbours. It has ended when a round reads the edges that the one before has read; then what is left
// of the phases only passes on.

func large(round int) Phase {
	name := fmt.Sprintf("large-%d", round)
	return Phase{name, func(p *Plan, _ Step, before []done) ([]task, error) {
		st := &state{}
		if round == 0 {
			all, n := collect(before, func(d *done) []output { return d.Links })
			if err := p.save("links", &state{Links: paths(all), Parts: p.portions(n)}); err != nil {
				return nil, err
			}
		} else {
			var err error
			if st, err = p.load(fmt.Sprintf("small-%d", round-1)); err != nil {
				return nil, err
			}
		}
		p.edges(st, before)
		st.Skipped = round >= p.Limits.Rounds
		if st.Ended || st.Skipped {
			return pass, p.save(name, st)
		}
		return numbered(st.Parts), p.save(name, st)
	}, func(p *Plan, _ Step, t task) (d done, err error) {
		st, err := p.load(name)
		if err != nil {
			return d, err
		}
		out := p.spill(p.path(name, 0, t.N), edgeWidth, parts)
		s := star{}
		err = each(st.Files, edgeWidth, portion(t.N, st.Parts), func(_ int, rec []byte) error {
			node, near := readID(rec), readID(rec[8:])
			d.Count++
			d.Sum += mix(node, near)
			return s.see(node, near, func(least, of ID) error { return addEdge(out, of, least) })
		})
		if err != nil {
			return d, err
		}
		d.Edges, err = out.close()
		return d, err
	}}
}

// edges makes the edges that the phase before has written the state's, unless that has them: those that a phase before has saved.
func (p *Plan) edges(st *state, before []done) {
	if st.Ended || st.Skipped {
		return
	}
	all, n := collect(before, func(d *done) []output { return d.Edges })
	st.Files, st.Parts, st.Ended = paths(all), p.portions(n), n == 0
}

func small(round int) Phase {
	name := fmt.Sprintf("small-%d", round)
	return Phase{name, func(p *Plan, _ Step, before []done) ([]task, error) {
		st, err := p.load(fmt.Sprintf("large-%d", round))
		if err != nil {
			return nil, err
		}
		if st.Ended || st.Skipped {
			return pass, p.save(name, st)
		}
		var count, sum uint64
		for _, d := range before {
			count += d.Count
			sum += d.Sum
		}
		if round > 0 && count == st.Count && sum == st.Sum {
			st.Ended = true
			return pass, p.save(name, st)
		}
		all, n := collect(before, func(d *done) []output { return d.Edges })
		st.Files, st.Parts, st.Count, st.Sum = paths(all), p.portions(n), count, sum
		return numbered(st.Parts), p.save(name, st)
	}, func(p *Plan, _ Step, t task) (d done, err error) {
		st, err := p.load(name)
		if err != nil {
			return d, err
		}
		out := p.spill(p.path(name, 0, t.N), edgeWidth, parts)
		s := star{small: true}
		err = each(st.Files, edgeWidth, portion(t.N, st.Parts), func(_ int, rec []byte) error {
			return s.see(readID(rec), readID(rec[8:]), func(least, of ID) error { return addBoth(out, least, of) })
		})
		if err != nil {
			return d, err
		}
		d.Edges, err = out.close()
		return d, err
	}}
}

// mix is the hash of an edge.
func mix(a, b ID) uint64 {
	x := (uint64(a.File)<<32|uint64(a.Doc))*0x9e3779b97f4a7c15 ^ (uint64(b.File)<<32 | uint64(b.Doc))
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
