package dedupe

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Removals lie at the end in files of which each has a range of the documents, so that who filters some that follow one another opens one
// file, or two.

// RemovalFile is such a file: the removals of the documents from From to To.
type RemovalFile struct {
	Path string `json:"path"`
	From ID     `json:"from"`
	To   ID     `json:"to"`
}

// RemovalsPath is the list of a plan's files, a JSON list in the order of the documents, which its last phase writes.
func RemovalsPath(dir string) string { return storage.Join(dir, "removals-list.json") }

func beginRemovals(p *Plan, _ Step, before []done) ([]task, error) {
	all, n := collect(before, func(d *done) []output { return d.Runs })
	files := min(parts, (n+int64(p.Limits.FileRemovals)-1)/int64(p.Limits.FileRemovals))
	if err := p.save("removals", &state{Files: paths(all)}); err != nil || n == 0 {
		return pass, err
	}
	bounds := quantiles(all, int(files))
	var out []task
	for i := range len(bounds) + 1 {
		t := task{N: i}
		t.Lo, t.Hi = between(bounds, i)
		out = append(out, t)
	}
	return out, nil
}

// removals writes the removals of a range of the documents.
func removals(p *Plan, _ Step, t task) (d done, err error) {
	st, err := p.load("removals")
	if err != nil {
		return d, err
	}
	o, err := mergeTo(storage.Join(p.Dir, fmt.Sprintf("removals-%05d.run", t.N)), st.Files, removalWidth, 1, span{1, 0, 1, t.Lo, t.Hi})
	if err != nil || o.Records == 0 {
		return d, err
	}
	d.Runs = []output{{Path: o.Path, Records: o.Records, Lo: t.Lo, Hi: t.Hi}}
	return d, nil
}

func list(p *Plan, _ Step, before []done) ([]task, error) {
	all, _ := collect(before, func(d *done) []output { return d.Runs })
	files := make([]RemovalFile, 0, len(all))
	for _, o := range all {
		f := RemovalFile{Path: o.Path, To: ID{math.MaxUint32, math.MaxUint32}}
		if o.Lo != nil {
			f.From = readID(o.Lo)
		}
		if o.Hi != nil {
			f.To = previous(readID(o.Hi))
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b RemovalFile) int { return a.From.Compare(b.From) })
	return pass, storage.WriteFile(RemovalsPath(p.Dir), []byte(encode(files)))
}

// previous is the ID before an ID that is not the first.
func previous(id ID) ID {
	n := (uint64(id.File)<<32 | uint64(id.Doc)) - 1
	return ID{uint32(n >> 32), uint32(n)}
}

func listed(*Plan, Step, task) (d done, err error) { return d, nil }

// ReadRemovalList reads a list of files of removals.
func ReadRemovalList(path string) (files []RemovalFile, err error) {
	b, err := storage.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &files); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return files, nil
}

// RemovalReads are the requests to an object store, and the bytes of their answers, that the removals of documents that follow one another
// take at most, where they are fewer than fit into one answer: a file's header, the halvings of its records, and two answers.
func (l Limits) RemovalReads() (requests, read int64) {
	l.complete()
	const one = searchedObject / removalWidth
	halvings := bits.Len(uint(l.FileRemovals / one))
	return int64(3 + halvings), removalWidth * int64(min(2*one, 2*l.FileRemovals))
}

// Removal is a document, or parts of it, that repeats another.
type Removal struct {
	Parts []uint32 // sorted
	Kept  ID       // the first document it repeats; FromIndex for one of an index
}

// ReadRemovals reads what is to be removed of the documents from one to another, both included. It opens the files of the list, which is in
// the order of the documents, that have any of them.
func ReadRemovals(files []RemovalFile, from, to ID) (map[ID]*Removal, error) {
	lo := appendID(nil, from)
	var hi []byte // the first ID beyond the last document
	if to != (ID{math.MaxUint32, math.MaxUint32}) {
		hi = binary.BigEndian.AppendUint64(nil, (uint64(to.File)<<32|uint64(to.Doc))+1)
	}
	first, _ := slices.BinarySearchFunc(files, from, func(f RemovalFile, id ID) int { return f.To.Compare(id) })
	out := map[ID]*Removal{}
	for _, file := range files[first:] {
		if file.From.Compare(to) > 0 {
			break
		}
		f, err := openRun(file.Path, removalWidth, 1)
		if err != nil {
			return nil, err
		}
		recs, err := f.Range(nil, 0, lo, hi)
		f.Close()
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(recs); i += removalWidth {
			r := recs[i:]
			id, part, kept := readID(r), binary.BigEndian.Uint32(r[8:]), readID(r[12:])
			m := out[id]
			if m == nil {
				m = &Removal{Kept: kept}
				out[id] = m
			}
			if kept.Compare(m.Kept) < 0 {
				m.Kept = kept
			}
			m.Parts = append(m.Parts, part)
		}
	}
	for _, m := range out {
		slices.SortFunc(m.Parts, cmp.Compare[uint32])
	}
	return out, nil
}
