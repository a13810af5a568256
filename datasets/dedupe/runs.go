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

// searched is how many bytes of records are read at once when a key is searched for.
const searched = 32 << 10

// find is where the records r of a section with lo <= r < hi begin and end, compared by as many bytes as lo and hi have; nil is no bound.
func (f *Run) find(section int, lo, hi []byte) (from, to int, err error) {
	n := f.sections[section]
	search := func(key []byte) int {
		a, b := 0, n
		for b-a > searched/f.width && err == nil {
			var rec []byte
			mid := (a + b) / 2
			if rec, err = f.records(section, mid, mid+1); err == nil && bytes.Compare(rec[:len(key)], key) < 0 {
				a = mid + 1
			} else {
				b = mid
			}
		}
		if a == b || err != nil {
			return a
		}
		var recs []byte
		if recs, err = f.records(section, a, b); err != nil {
			return a
		}
		return a + sort.Search(b-a, func(i int) bool { return bytes.Compare(recs[i*f.width:i*f.width+len(key)], key) >= 0 })
	}
	to = n
	if lo != nil {
		from = search(lo)
	}
	if hi != nil && err == nil {
		to = search(hi)
	}
	return from, max(from, to), err
}

// Range appends the records r of a section with lo <= r < hi, compared by as many bytes as lo and hi have; nil is no bound.
func (f *Run) Range(dst []byte, section int, lo, hi []byte) ([]byte, error) {
	if section >= len(f.sections) {
		return dst, fmt.Errorf("%s: has %d sections, section %d is wanted", f.path, len(f.sections), section)
	}
	from, to, err := f.find(section, lo, hi)
	if err != nil || from == to {
		return dst, err
	}
	recs, err := f.records(section, from, to)
	return append(dst, recs...), err
}
