package dedupe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// beginMerge plans the ranges of keys. Equal keys fall into one range.
func beginMerge(p *Plan, s Step, _ []done) ([]task, error) {
	sections, _, _ := s.Layout()
	st, err := p.load("spread")
	if err != nil {
		return nil, err
	}
	var out []task
	for k := range sections {
		for i := range len(st.Bounds) + 1 {
			t := task{N: i, Section: k}
			t.Lo, t.Hi = between(st.Bounds, i)
			out = append(out, t)
		}
	}
	return out, nil
}

// keyRuns are the runs with the keys of a range.
func (p *Plan) keyRuns(t task) ([]string, error) {
	st, err := p.load("spread")
	if err != nil || st.Groups == 0 {
		return st.files(), err
	}
	c := sort.SearchInts(st.Coarse, t.N+1) - 1
	var out []string
	for g := range st.Groups {
		out = append(out, p.spreadPath(t.Section, c, g))
	}
	return out, nil
}

func (st *state) files() []string {
	if st == nil {
		return nil
	}
	return st.Files
}

// removalWidth: the document's ID, the part, the ID it repeats.
const removalWidth = 20

func appendRemoval(b []byte, id ID, part uint32, kept ID) []byte {
	return appendID(binary.BigEndian.AppendUint32(appendID(b, id), part), kept)
}

// mergeRange reads a range of the runs and writes what the index to come has of it. Without clusters it returns the removals, all
// occurrences of a key but the first; with them the links between neighbours in a band.
func mergeRange(p *Plan, s Step, t task) (d done, err error) {
	sections, key, clusters := s.Layout()
	width := Width(s)
	runs, err := p.keyRuns(t)
	if err != nil {
		return d, err
	}
	var index *runWriter
	if p.Save != "" {
		path := storage.Join(p.Save, fmt.Sprintf("keys-%03d-%05d.run", t.Section, t.N))
		if index, err = createRun(path, width, sections, true); err != nil {
			return d, err
		}
		defer index.abort()
	}
	var found finder = p.newFirsts(t)
	if clusters {
		found = p.newLinks(t)
	}
	var before []byte // the record before
	bare := make([]byte, width)
	err = each(runs, width, span{sections, t.Section, t.Section + 1, t.Lo, t.Hi}, func(section int, rec []byte) error {
		same := before != nil && bytes.Equal(rec[:key], before[:key])
		if !same && index != nil {
			copy(bare, rec[:key])
			if err := index.write(section, bare); err != nil {
				return err
			}
		}
		var tail []byte
		if same {
			tail = before[key:]
		}
		if err := found.add(tail, rec[key:]); err != nil {
			return err
		}
		before = append(before[:0], rec...)
		return nil
	})
	if err != nil {
		return d, err
	}
	if index != nil {
		if err := index.close(); err != nil {
			return d, err
		}
	}
	return d, found.end(&d)
}

// finder makes of the records of a range, in order, what the step is after.
type finder interface {
	// add gets what follows the key in a record, and in the one before it where that has the same key.
	add(before, tail []byte) error
	end(*done) error
}

// firsts writes as removals all occurrences of a key but the first.
type firsts struct {
	*spill
	first ID
}

func (p *Plan) newFirsts(t task) *firsts {
	f := &firsts{spill: p.spill(p.path("removed", t.Section, t.N), removalWidth, 1)}
	f.sampled = true
	return f
}

func (f *firsts) add(before, tail []byte) error {
	id := ID{File: binary.BigEndian.Uint32(tail[4:]), Doc: binary.BigEndian.Uint32(tail)}
	if before == nil {
		f.first = id
		return nil
	}
	if id == FromIndex {
		return nil
	}
	f.sections[0] = appendRemoval(f.sections[0], id, binary.BigEndian.Uint32(tail[8:]), f.first)
	return f.added()
}

func (f *firsts) end(d *done) (err error) {
	d.Runs, err = f.close()
	return err
}
