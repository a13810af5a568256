package dedupe

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// A run is a file of sections, each a sorted sequence of different records of one width; records compare as bytes. Runs are what the rounds
// of deduplication leave one another, so that no shuffle carries more than their names: each task reads its range of every run.

const runMagic = "AFRUN01\n"

// WriteRun sorts the records of each section, drops repeated ones, and writes a run. It changes the sections.
func WriteRun(path string, width int, sections [][]byte) error {
	w, err := createRun(path, width, len(sections), false)
	if err != nil {
		return err
	}
	defer w.abort()
	for i := range sections {
		sections[i] = sortRecords(sections[i], width)
		if err := w.write(i, sections[i]); err != nil {
			return err
		}
	}
	return w.close()
}

// runWriter writes a run whose records come sorted, section after section.
type runWriter struct {
	f      *storage.File
	out    *bufio.Writer
	width  int
	counts []uint64
}

// createRun begins a run. What does not stay is made again after the machine was lost, and does not wait for the disk.
func createRun(path string, width, sections int, stays bool) (*runWriter, error) {
	f, err := storage.Create(path)
	if err != nil {
		return nil, err
	}
	if !stays {
		f.Unsynced()
	}
	w := &runWriter{f: f, out: bufio.NewWriterSize(f, 64<<10), width: width, counts: make([]uint64, sections)}
	_, err = w.out.Write(w.head()) // written over when the counts are known
	if err != nil {
		f.Abort()
	}
	return w, err
}

func (w *runWriter) head() []byte {
	head := []byte(runMagic)
	head = binary.BigEndian.AppendUint32(head, uint32(w.width))
	head = binary.BigEndian.AppendUint32(head, uint32(len(w.counts)))
	for _, n := range w.counts {
		head = binary.BigEndian.AppendUint64(head, n)
	}
	return head
}

// write adds sorted records to a section, which is not before the one of the last call.
func (w *runWriter) write(section int, records []byte) error {
	w.counts[section] += uint64(len(records) / w.width)
	_, err := w.out.Write(records)
	return err
}

func (w *runWriter) close() error {
	if err := w.out.Flush(); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(w.head(), 0); err != nil {
		return err
	}
	return w.f.Commit()
}

func (w *runWriter) abort() { w.f.Abort() }

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

// Run is an open run. One on an object store is read by requests of what is wanted alone.
type Run struct {
	path     string
	r        storage.ReaderAt // nil on an object store
	width    int
	sections []int // records
	starts   []int64
}

// OpenRun opens a run whose records must have the width.
func OpenRun(path string, width int) (*Run, error) { return openRun(path, width, 0) }

// openRun is OpenRun of a run that must have so many sections, 0 for any.
func openRun(path string, width, sections int) (*Run, error) {
	f := &Run{path: path, width: width}
	if storage.IsLocal(path) {
		var err error
		if f.r, err = storage.OpenReaderAt(path); err != nil {
			return nil, err
		}
	}
	if err := f.header(sections); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (f *Run) header(sections int) error {
	head, err := f.read(nil, 0, 16+8*int64(sections))
	if err != nil && f.r == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err != nil || string(head[:8]) != runMagic {
		return fmt.Errorf("is not a file of sorted hashes, or is damaged")
	}
	if w := int(binary.BigEndian.Uint32(head[8:])); w != f.width {
		return fmt.Errorf("holds records of %d bytes where %d are wanted; it was made with other settings", w, f.width)
	}
	n := int(binary.BigEndian.Uint32(head[12:]))
	if sections > 0 && n != sections {
		return fmt.Errorf("has %d sections where %d are wanted; it was made with other settings", n, sections)
	}
	if f.r != nil && int64(n)*8 > f.r.Size() {
		return fmt.Errorf("is damaged")
	}
	counts := head[16:]
	if sections == 0 {
		if counts, err = f.read(nil, 16, 8*int64(n)); err != nil {
			return err
		}
	}
	at := int64(16 + 8*n)
	for i := range n {
		c := binary.BigEndian.Uint64(counts[8*i:])
		f.starts = append(f.starts, at)
		f.sections = append(f.sections, int(c))
		at += int64(c) * int64(f.width)
	}
	if f.r != nil && at != f.r.Size() { // of an object what is missing is found when it is read
		return fmt.Errorf("has %d bytes where its header says %d; it is cut", f.r.Size(), at)
	}
	return nil
}

// read reads n bytes, into b where there is room.
func (f *Run) read(b []byte, off, n int64) ([]byte, error) {
	if f.r == nil {
		return storage.ReadRange(f.path, off, n)
	}
	b = slices.Grow(b[:0], int(n))[:n]
	_, err := f.r.ReadAt(b, off)
	return b, err
}

// records reads the records of a section from one to before another.
func (f *Run) records(section, from, to int) ([]byte, error) {
	b, err := f.read(nil, f.starts[section]+int64(from)*int64(f.width), int64(to-from)*int64(f.width))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return b, nil
}

// Count is the number of records of a section.
func (f *Run) Count(section int) int { return f.sections[section] }

// Close closes the file.
func (f *Run) Close() error {
	if f.r == nil {
		return nil
	}
	return f.r.Close()
}

// searchedFile and searchedObject are how many bytes of records are read at once when a key is searched for: a request to a store takes as
// long for a hundred thousand bytes as for one.
const (
	searchedFile   = 32 << 10
	searchedObject = 128 << 10
)

// searched is how many records are read at once when a key is searched for.
func (f *Run) searched() int {
	if f.r == nil {
		return searchedObject / f.width
	}
	return searchedFile / f.width
}

// window is records of a section that were read: from the first, before the last.
type window struct {
	first, last int
	recs        []byte
}

// search is the first of the records from a to before b of a section that is not less than key, compared by as many bytes as key has, or b;
// w are those that were read at last.
func (f *Run) search(section, a, b int, key []byte) (at int, w window, err error) {
	for b-a > f.searched() {
		mid := (a + b) / 2
		rec, err := f.records(section, mid, mid+1)
		if err != nil {
			return a, w, err
		}
		if bytes.Compare(rec[:len(key)], key) < 0 {
			a = mid + 1
		} else {
			b = mid
		}
	}
	w = window{first: a, last: b}
	if a == b {
		return a, w, nil
	}
	if w.recs, err = f.records(section, a, b); err != nil {
		return a, w, err
	}
	return f.within(&w, a, key), w, nil
}

// within is the first record of a window, from a on, that is not less than key, or the window's end.
func (f *Run) within(w *window, a int, key []byte) int {
	return a + sort.Search(w.last-a, func(i int) bool {
		rec := w.recs[(a-w.first+i)*f.width:]
		return bytes.Compare(rec[:len(key)], key) >= 0
	})
}

// find is where the records r of a section with lo <= r < hi begin and end, compared by as many bytes as lo and hi have; nil means no
// bound. recs are those records where they were read as the bounds were searched for: a few, which lie together, are.
func (f *Run) find(section int, lo, hi []byte) (from, to int, recs []byte, err error) {
	to = f.sections[section]
	var w window
	if lo != nil {
		if from, w, err = f.search(section, 0, to, lo); err != nil || from == to {
			return from, from, nil, err
		}
	}
	if hi == nil {
		return from, to, nil, nil
	}
	if lo != nil { // the end may lie near
		if end := f.within(&w, from, hi); end < w.last || w.last == to {
			return from, end, w.recs[(from-w.first)*f.width : (end-w.first)*f.width], nil
		}
		near := window{first: w.last, last: min(to, w.last+f.searched())}
		if near.recs, err = f.records(section, near.first, near.last); err != nil {
			return from, from, nil, err
		}
		if end := f.within(&near, near.first, hi); end < near.last || near.last == to {
			recs = append(w.recs[(from-w.first)*f.width:], near.recs[:(end-near.first)*f.width]...)
			return from, end, recs, nil
		}
		w.last = near.last
	}
	to, _, err = f.search(section, w.last, to, hi)
	return from, to, nil, err
}

// Range appends the records r of a section with lo <= r < hi, compared by as many bytes as lo and hi have; nil means no bound.
func (f *Run) Range(dst []byte, section int, lo, hi []byte) ([]byte, error) {
	if section >= len(f.sections) {
		return dst, fmt.Errorf("%s: has %d sections, section %d is wanted", f.path, len(f.sections), section)
	}
	from, to, recs, err := f.find(section, lo, hi)
	if err != nil || from == to {
		return dst, err
	}
	if recs == nil {
		recs, err = f.records(section, from, to)
	}
	return append(dst, recs...), err
}
