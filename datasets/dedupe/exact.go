package dedupe

import (
	"cmp"
	"slices"
)

// Hashed is a hash with where it comes from: a document, or (Part) a line, paragraph or span of sentences of one.
type Hashed struct {
	Hash uint64
	ID   ID
	Part uint32
}

// compare is datatrove's order: of equal hashes the lowest position in its file comes first, whichever the file.
func (h Hashed) compare(o Hashed) int {
	return cmp.Or(cmp.Compare(h.Hash, o.Hash), cmp.Compare(h.ID.Doc, o.ID.Doc), cmp.Compare(h.ID.File, o.ID.File),
		cmp.Compare(h.Part, o.Part))
}

// Duplicates sorts the hashes and returns those that occurred before, in order: all of a hash but the first.
func Duplicates(hashes []Hashed) []Hashed {
	slices.SortFunc(hashes, Hashed.compare)
	var out []Hashed
	for i := 1; i < len(hashes); i++ {
		if hashes[i].Hash == hashes[i-1].Hash {
			out = append(out, hashes[i])
		}
	}
	return out
}

// RemoveParts joins the parts with sep, without those whose numbers are in drop (sorted).
func RemoveParts(parts []string, drop []uint32, sep string) string {
	var b []byte
	for i, p := range parts {
		if _, ok := slices.BinarySearch(drop, uint32(i)); ok {
			continue
		}
		if b != nil {
			b = append(b, sep...)
		}
		if b == nil {
			b = []byte{}
		}
		b = append(b, p...)
	}
	return string(b)
}
