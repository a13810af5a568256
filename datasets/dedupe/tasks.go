package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Plan is what the tasks of one step of deduplication share. Tasks of one phase may run at once, anywhere, any number of times; a phase
// begins when the one before it has ended:
//
//	merge     the keys of a range of all runs → removals, or links between neighbours of one band
//	star      a round of label propagation over the links of a part of the documents (two phases: large, small), until nothing changes
//	join      each link with the label of its cluster
//	roots     the clusters of a part of the labels → removals
//
// Memory is that of one task: a range or a part is planned to some hundred thousand records.
type Plan struct {
	Settings string   // of the step, JSON
	Dir      string   // where the tasks write
	Runs     []string // the signed documents
	Index    []string // runs of an earlier index
	Save     string   // folder of the index to write, "" for none
	Parts    int      // of the documents, by hash
}

// Range is a range of one section's keys: from Lo to before Hi, compared by their first 8 bytes; nil is no bound.
type Range struct {
	Section, Part int
	Lo, Hi        []byte
}

// rangeRecords is how many records of a section a range is planned to have; docsPerPart how many documents a part.
const (
	rangeRecords = 256 << 10
	docsPerPart  = 128 << 10
)

// FromIndex is the ID that stands for all documents of an index: before all others.
var FromIndex = ID{}

// Ranges cuts the keys of the runs into ranges of similar size. Equal keys fall into one range.
func (p *Plan) Ranges(s Step) ([]Range, error) { return p.ranges(s, rangeRecords) }

func (p *Plan) ranges(s Step, size int) ([]Range, error) {
	sections, _, _ := s.Layout()
	total := make([]int, sections)
	var sample []uint64
	const every = 64
	for _, path := range slices.Concat(p.Runs, p.Index) {
		f, err := OpenRun(path, Width(s))
		if err != nil {
			return nil, err
		}
		for k := range sections {
			total[k] += f.Count(k)
		}
		for i := 0; i < f.Count(0); i += every {
			b, err := f.At(0, i)
			if err != nil {
				f.Close()
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			sample = append(sample, binary.BigEndian.Uint64(b))
		}
		f.Close()
	}
	n := (slices.Max(total) + size - 1) / size
	slices.Sort(sample)
	var bounds [][]byte
	for i := 1; i < n; i++ {
		b := binary.BigEndian.AppendUint64(nil, sample[i*len(sample)/n])
		if len(bounds) == 0 || !bytes.Equal(b, bounds[len(bounds)-1]) {
			bounds = append(bounds, b)
		}
	}
	var out []Range
	for k := range sections {
		var lo []byte
		for i := range len(bounds) + 1 {
			var hi []byte
			if i < len(bounds) {
				hi = bounds[i]
			}
			out = append(out, Range{k, i, lo, hi})
			lo = hi
		}
	}
	return out, nil
}

// PartsFor is the number of parts for a number of documents.
func PartsFor(docs int64) int { return int(max(1, (docs+docsPerPart-1)/docsPerPart)) }

// partOf spreads documents over the parts.
func (p *Plan) partOf(id ID) int {
	x := uint64(id.File)<<32 | uint64(id.Doc)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(p.Parts))
}

func (p *Plan) path(kind string, a, b int) string {
	return storage.Join(p.Dir, fmt.Sprintf("%s-%03d-%05d.run", kind, a, b))
}

// removalWidth: the document's ID, the part, the ID it repeats.
const removalWidth = 20

func appendRemoval(b []byte, id ID, part uint32, kept ID) []byte {
	return appendID(binary.BigEndian.AppendUint32(appendID(b, id), part), kept)
}

// Merge reads a range of the runs. Without clusters it writes the removals, all occurrences of a key but the first; with them the links
// between neighbours in a band. It returns the file of removals, "" for none.
func (p *Plan) Merge(s Step, r Range) (string, error) {
	sections, key, clusters := s.Layout()
	width := Width(s)
	recs, err := readRange(slices.Concat(p.Runs, p.Index), width, r.Section, r.Lo, r.Hi)
	if err != nil {
		return "", err
	}
	if p.Save != "" {
		keys := make([][]byte, sections)
		for i := 0; i < len(recs); i += width {
			if i > 0 && bytes.Equal(recs[i:i+key], recs[i-width:i-width+key]) {
				continue
			}
			keys[r.Section] = append(append(keys[r.Section], recs[i:i+key]...), make([]byte, width-key)...)
		}
		if err := WriteRun(storage.Join(p.Save, fmt.Sprintf("keys-%03d-%05d.run", r.Section, r.Part)), width, keys); err != nil {
			return "", err
		}
	}
	if clusters {
		return "", p.link(r, recs, width, key)
	}
	var out []byte
	var first ID
	for i := 0; i < len(recs); i += width {
		tail := recs[i+key : i+width]
		id := ID{File: binary.BigEndian.Uint32(tail[4:]), Doc: binary.BigEndian.Uint32(tail)}
		if i == 0 || !bytes.Equal(recs[i:i+key], recs[i-width:i-width+key]) {
			first = id
			continue
		}
		if id != FromIndex {
			out = appendRemoval(out, id, binary.BigEndian.Uint32(tail[8:]), first)
		}
	}
	path := p.path("removed", r.Section, r.Part)
	return path, WriteRun(path, removalWidth, [][]byte{out})
}

// linkWidth: two IDs and the link's place in datatrove's order of links; edgeWidth: two IDs.
const (
	linkWidth = 24
	edgeWidth = 16
)

func (p *Plan) link(r Range, recs []byte, width, key int) error {
	links, edges := make([][]byte, p.Parts), make([][]byte, p.Parts)
	n := uint64(0)
	for i := width; i < len(recs); i += width {
		if !bytes.Equal(recs[i:i+key], recs[i-width:i-width+key]) {
			continue
		}
		a, b := readID(recs[i-width+key:]), readID(recs[i+key:])
		order := uint64(r.Section)<<52 | uint64(r.Part)<<32 | n
		n++
		k := p.partOf(a)
		links[k] = binary.BigEndian.AppendUint64(appendID(appendID(links[k], a), b), order)
		edges = p.both(edges, a, b)
	}
	if err := WriteRun(p.path("links", r.Section, r.Part), linkWidth, links); err != nil {
		return err
	}
	return WriteRun(p.path("edges-0000", r.Section, r.Part), edgeWidth, edges)
}

// both adds an edge to the parts of both its ends.
func (p *Plan) both(edges [][]byte, a, b ID) [][]byte {
	i, j := p.partOf(a), p.partOf(b)
	edges[i] = appendID(appendID(edges[i], a), b)
	edges[j] = appendID(appendID(edges[j], b), a)
	return edges
}

// Edges are the files of edges before a round.
func (p *Plan) Edges(round int, ranges []Range) []string {
	var out []string
	if round == 0 {
		for _, r := range ranges {
			out = append(out, p.path("edges-0000", r.Section, r.Part))
		}
		return out
	}
	for k := range p.Parts {
		out = append(out, p.path(fmt.Sprintf("edges-%04d", round), 0, k))
	}
	return out
}

func (p *Plan) large(round int) []string {
	var out []string
	for k := range p.Parts {
		out = append(out, p.path(fmt.Sprintf("large-%04d", round), 0, k))
	}
	return out
}

// neighbours calls do for each document of a part and what it is linked to, sorted.
func neighbours(files []string, part int, do func(node ID, near []ID)) error {
	recs, err := readRange(files, edgeWidth, part, nil, nil)
	if err != nil {
		return err
	}
	var near []ID
	for i := 0; i < len(recs); i += edgeWidth {
		node := readID(recs[i:])
		near = append(near, readID(recs[i+8:]))
		if j := i + edgeWidth; j == len(recs) || readID(recs[j:]) != node {
			do(node, near)
			near = near[:0]
		}
	}
	return nil
}

// Fingerprint says whether two sets of edges are the same: their number and the sum of their hashes.
type Fingerprint struct{ Count, Sum uint64 }

// Large is the first half of a round for a part: [LargeStar] of each document. It returns the fingerprint of the edges as they were.
func (p *Plan) Large(round int, ranges []Range, part int) (fp Fingerprint, err error) {
	out := make([][]byte, p.Parts)
	err = neighbours(p.Edges(round, ranges), part, func(node ID, near []ID) {
		for _, n := range near {
			fp.Count++
			fp.Sum += mix(node, n)
		}
		for _, e := range LargeStar(node, near) {
			k := p.partOf(e.B)
			out[k] = appendID(appendID(out[k], e.B), e.A)
		}
	})
	if err != nil {
		return fp, err
	}
	return fp, WriteRun(p.path(fmt.Sprintf("large-%04d", round), 0, part), edgeWidth, out)
}

func mix(a, b ID) uint64 {
	x := (uint64(a.File)<<32|uint64(a.Doc))*0x9e3779b97f4a7c15 ^ (uint64(b.File)<<32 | uint64(b.Doc))
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Small is the second half: [SmallStar] of each document and its smaller neighbours.
func (p *Plan) Small(round, part int) error {
	out := make([][]byte, p.Parts)
	err := neighbours(p.large(round), part, func(node ID, near []ID) {
		for _, e := range SmallStar(node, near) {
			out = p.both(out, e.A, e.B)
		}
	})
	if err != nil {
		return err
	}
	return WriteRun(p.path(fmt.Sprintf("edges-%04d", round+1), 0, part), edgeWidth, out)
}

// joinWidth: label, order, two IDs.
const joinWidth = 32

// Join gives the links of a part's documents the labels of their clusters, which the edges before the given round are.
func (p *Plan) Join(round int, ranges []Range, part int) error {
	labels := map[ID]ID{}
	err := neighbours(p.Edges(round, ranges), part, func(node ID, near []ID) {
		labels[node] = slices.MinFunc(append(near, node), ID.Compare)
	})
	if err != nil {
		return err
	}
	var files []string
	for _, r := range ranges {
		files = append(files, p.path("links", r.Section, r.Part))
	}
	recs, err := readRange(files, linkWidth, part, nil, nil)
	if err != nil {
		return err
	}
	out := make([][]byte, p.Parts)
	for i := 0; i < len(recs); i += linkWidth {
		r := recs[i : i+linkWidth]
		label, ok := labels[readID(r)]
		if !ok {
			return fmt.Errorf("a linked document has no label; the files in %s changed while this ran", p.Dir)
		}
		k := p.partOf(label)
		out[k] = append(append(appendID(out[k], label), r[16:24]...), r[:16]...)
	}
	return WriteRun(p.path("joined", 0, part), joinWidth, out)
}

// Roots writes the removals of the clusters of a part: all but the root, which uniting the links in datatrove's order gives; all documents
// of a cluster that touches the index.
func (p *Plan) Roots(part int) (string, error) {
	var files []string
	for k := range p.Parts {
		files = append(files, p.path("joined", 0, k))
	}
	recs, err := readRange(files, joinWidth, part, nil, nil)
	if err != nil {
		return "", err
	}
	var out []byte
	var pairs []Pair
	for i := 0; i < len(recs); i += joinWidth {
		label := readID(recs[i:])
		pairs = append(pairs, Pair{readID(recs[i+16:]), readID(recs[i+24:])})
		if j := i + joinWidth; j < len(recs) && readID(recs[j:]) == label {
			continue
		}
		for _, c := range Clusters(pairs) {
			kept := c.Kept
			if label == FromIndex {
				kept = FromIndex
			}
			for _, id := range c.IDs {
				if id != kept {
					out = appendRemoval(out, id, 0, kept)
				}
			}
		}
		pairs = pairs[:0]
	}
	path := p.path("removed", 0, part)
	return path, WriteRun(path, removalWidth, [][]byte{out})
}

// Removal is a document, or parts of it, that repeats another.
type Removal struct {
	Parts []uint32 // sorted
	Kept  ID       // the first document it repeats; FromIndex for one of an index
}

// ReadRemovals reads what is to be removed of the documents of a file from position first to last.
func ReadRemovals(files []string, file, first, last uint32) (map[uint32]*Removal, error) {
	lo, hi := appendID(nil, ID{file, first}), appendID(nil, ID{file, last})
	out := map[uint32]*Removal{}
	for _, path := range files {
		f, err := OpenRun(path, removalWidth)
		if err != nil {
			return nil, err
		}
		var end []byte // the first key beyond the last document
		if last < ^uint32(0) {
			end = appendID(nil, ID{file, last + 1})
		} else {
			end = append(slices.Clone(hi), 0xff, 0xff, 0xff, 0xff)
		}
		recs, err := f.Range(nil, 0, lo, end)
		f.Close()
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(recs); i += removalWidth {
			r := recs[i:]
			id, part, kept := readID(r), binary.BigEndian.Uint32(r[8:]), readID(r[12:])
			m := out[id.Doc]
			if m == nil {
				m = &Removal{Kept: kept}
				out[id.Doc] = m
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
