package parts

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Writer writes a file of parts, of records that come in their order. It holds no more than a buffer.
type Writer struct {
	file  *storage.File
	key   int64
	width int

	out  *bufio.Writer // what is stored goes through it to the sums and the file
	enc  *zstd.Encoder // nil where records are stored as they are
	sums sums

	parts []Slice
	open  bool // the last of parts is being written
	last  []byte
	place uint64
	line  []byte
}

// sums counts what is stored.
type sums struct {
	w           io.Writer
	size        int64
	part, whole uint32
}

// Write implements io.Writer.
func (s *sums) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.size += int64(n)
	s.part, s.whole = crc32.Update(s.part, castagnoli, p[:n]), crc32.Update(s.whole, castagnoli, p[:n])
	return n, err
}

// Create begins a file of the records of a key's range, which is cut into a part for each value of the next 8 bits. width is how many bytes
// each record has, 0 where they differ. Nothing is visible at path before Close. On a local disk records are stored as they are: they are
// read once or twice and deleted; what goes to an object store has zstd.
func Create(path string, key int64, width int) (*Writer, error) {
	check(key)
	if width < 0 {
		panic(fmt.Sprintf("parts: records of %d bytes", width))
	}
	f, err := storage.Create(path)
	if err != nil {
		return nil, err
	}
	f.Unsynced() // the slices have checksums, and what is lost with the machine is made again
	w := &Writer{file: f, key: key, width: width, sums: sums{w: f}}
	w.out = bufio.NewWriterSize(&w.sums, 256<<10)
	if !storage.IsLocal(path) {
		w.enc, err = zstd.NewWriter(w.out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			f.Abort()
			return nil, err
		}
	}
	return w, nil
}

// Write adds a record, whose bytes it copies. It panics where a record comes before one of a greater place, or of the same place and
// greater bytes, and where it lies outside the file's range or has another width: these are mistakes of the program.
func (w *Writer) Write(place uint64, b []byte) error {
	key := Key(place, below(w.key))
	switch n := len(w.parts); {
	case n > 0 && compare(w.place, w.last, place, b) > 0:
		panic(fmt.Sprintf("parts: %s: the record at place %d comes after one at %d", w.file.Path(), place, w.place))
	case Key(place, Bits(w.key)) != w.key:
		panic(fmt.Sprintf("parts: %s: the record at place %d is not of the file's range", w.file.Path(), place))
	case n == 0 || w.parts[n-1].Key != key:
		if err := w.finish(); err != nil {
			return err
		}
		w.parts = append(w.parts, Slice{Key: key, Off: w.sums.size, Width: int64(w.width), Zstd: w.enc != nil})
		w.sums.part, w.open = 0, true
		if w.enc != nil {
			w.enc.Reset(w.out)
		}
	}
	w.place, w.last = place, append(w.last[:0], b...)
	w.line = appendRecord(w.line[:0], w.width, place, b)
	p := &w.parts[len(w.parts)-1]
	p.Records++
	p.Bytes += int64(len(w.line))
	var err error
	if w.enc != nil {
		_, err = w.enc.Write(w.line)
	} else {
		_, err = w.out.Write(w.line)
	}
	return err
}

// WriteAll adds records as [Writer.Write] does; distinct leaves out those that are equal to the one before.
func (w *Writer) WriteAll(all iter.Seq2[uint64, []byte], distinct bool) error {
	for place, b := range all {
		if distinct && len(w.parts) > 0 && place == w.place && bytes.Equal(b, w.last) {
			continue
		}
		if err := w.Write(place, b); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the part that is being written.
func (w *Writer) finish() error {
	if !w.open {
		return nil
	}
	w.open = false
	if w.enc != nil {
		if err := w.enc.Close(); err != nil {
			return fmt.Errorf("%s: %w", w.file.Path(), err)
		}
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	p := &w.parts[len(w.parts)-1]
	p.Len, p.CRC = w.sums.size-p.Off, int64(w.sums.part)
	return nil
}

// Close finishes the file, makes it visible, and returns its parts that have records, in their order, and all of them as one slice. The
// same records give the same bytes.
func (w *Writer) Close() (all []Slice, whole Slice, err error) {
	defer w.file.Abort()
	if err := w.finish(); err != nil {
		return nil, whole, err
	}
	whole = Slice{Path: w.file.Path(), Key: w.key, Len: w.sums.size, CRC: int64(w.sums.whole), Width: int64(w.width), Zstd: w.enc != nil}
	for i := range w.parts {
		p := &w.parts[i]
		p.Path = whole.Path
		whole.Bytes, whole.Records = whole.Bytes+p.Bytes, whole.Records+p.Records
	}
	if _, err := w.file.Write(appendIndex(nil, &whole, w.parts)); err != nil {
		return nil, whole, err
	}
	return w.parts, whole, w.file.Commit()
}

// Abort drops the file. After Close it does nothing.
func (w *Writer) Abort() { w.file.Abort() }
