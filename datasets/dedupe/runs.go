package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// A run is a file of sections, each a sorted sequence of different records of one width; records compare as bytes. Runs are what the rounds
// of deduplication leave one another, so that no shuffle carries more than their names: each task reads its range of every run.

const runMagic = "AFRUN01\n"

// WriteRun sorts the records of each section, drops repeated ones, and writes a run. It changes the sections.
func WriteRun(path string, width int, sections [][]byte) error {
	head := []byte(runMagic)
	head = binary.BigEndian.AppendUint32(head, uint32(width))
	head = binary.BigEndian.AppendUint32(head, uint32(len(sections)))
	for i := range sections {
		sections[i] = sortRecords(sections[i], width)
		head = binary.BigEndian.AppendUint64(head, uint64(len(sections[i])/width))
	}
	f, err := storage.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(head); err != nil {
		return err
	}
	for _, s := range sections {
		if _, err := f.Write(s); err != nil {
			return err
		}
	}
	return f.Commit()
}

// sortRecords sorts records and drops repeated ones.
func sortRecords(b []byte, width int) []byte {
	n := len(b) / width
	if n < 2 {
		return b
	}
	type ref struct {
		key uint64
		at  uint32
	}
	refs := make([]ref, n)
	sorted := true
	for i := range refs {
		r := b[i*width : (i+1)*width]
		var k [8]byte
		copy(k[:], r)
		refs[i] = ref{binary.BigEndian.Uint64(k[:]), uint32(i)}
		sorted = sorted && (i == 0 || bytes.Compare(b[(i-1)*width:i*width], r) < 0)
	}
	if sorted {
		return b
	}
	rec := func(x ref) []byte { return b[int(x.at)*width : (int(x.at)+1)*width] }
	slices.SortFunc(refs, func(x, y ref) int {
		if x.key != y.key {
			return cmp.Compare(x.key, y.key)
		}
		return bytes.Compare(rec(x), rec(y))
	})
	out := make([]byte, 0, len(b))
	for i, x := range refs {
		if r := rec(x); i == 0 || !bytes.Equal(r, out[len(out)-width:]) {
			out = append(out, r...)
		}
	}
	return out
}

// Run is an open run.
type Run struct {
	path     string
	r        storage.ReaderAt
	width    int
	sections []int // records
	starts   []int64
}

// OpenRun opens a run whose records must have the width.
func OpenRun(path string, width int) (*Run, error) {
	r, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	f := &Run{path: path, r: r, width: width}
	if err := f.header(); err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (f *Run) header() error {
	head := make([]byte, 16)
	if _, err := f.r.ReadAt(head, 0); err != nil || string(head[:8]) != runMagic {
		return fmt.Errorf("is not a file of sorted hashes, or is damaged")
	}
	if w := int(binary.BigEndian.Uint32(head[8:])); w != f.width {
		return fmt.Errorf("holds records of %d bytes where %d are wanted; it was made with other settings", w, f.width)
	}
	n := int(binary.BigEndian.Uint32(head[12:]))
	if int64(n)*8 > f.r.Size() {
		return fmt.Errorf("is damaged")
	}
	counts := make([]byte, 8*n)
	if _, err := f.r.ReadAt(counts, 16); n > 0 && err != nil {
		return err
	}
	at := int64(16 + 8*n)
	for i := range n {
		c := binary.BigEndian.Uint64(counts[8*i:])
		f.starts = append(f.starts, at)
		f.sections = append(f.sections, int(c))
		at += int64(c) * int64(f.width)
	}
	if at != f.r.Size() {
		return fmt.Errorf("has %d bytes where its header says %d; it is cut", f.r.Size(), at)
	}
	return nil
}

// Count is the number of records of a section.
func (f *Run) Count(section int) int { return f.sections[section] }

// Close closes the file.
func (f *Run) Close() error { return f.r.Close() }

// At reads the record i of a section.
func (f *Run) At(section, i int) ([]byte, error) {
	b := make([]byte, f.width)
	_, err := f.r.ReadAt(b, f.starts[section]+int64(i)*int64(f.width))
	return b, err
}

// Range appends the records r of a section with lo <= r < hi, compared by as many bytes as lo and hi have; nil is no bound.
func (f *Run) Range(dst []byte, section int, lo, hi []byte) ([]byte, error) {
	if section >= len(f.sections) {
		return dst, fmt.Errorf("%s: has %d sections, section %d is wanted", f.path, len(f.sections), section)
	}
	n := f.sections[section]
	var failed error
	find := func(key []byte) int {
		return sort.Search(n, func(i int) bool {
			b, err := f.At(section, i)
			if err != nil {
				failed = err
				return true
			}
			return bytes.Compare(b[:len(key)], key) >= 0
		})
	}
	from, to := 0, n
	if lo != nil {
		from = find(lo)
	}
	if hi != nil {
		to = find(hi)
	}
	if failed == nil && to > from {
		k := len(dst)
		dst = append(dst, make([]byte, (to-from)*f.width)...)
		_, failed = f.r.ReadAt(dst[k:], f.starts[section]+int64(from)*int64(f.width))
	}
	if failed != nil {
		return dst, fmt.Errorf("%s: %w", f.path, failed)
	}
	return dst, nil
}

// readRange reads a range of a section of many runs, sorted.
func readRange(paths []string, width, section int, lo, hi []byte) ([]byte, error) {
	var all []byte
	for _, p := range paths {
		f, err := OpenRun(p, width)
		if err != nil {
			return nil, err
		}
		all, err = f.Range(all, section, lo, hi)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return sortRecords(all, width), nil
}
