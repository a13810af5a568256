package datasets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// errBlockEnd says once that a block has been read; what is read behind it follows the block in the file.
var errBlockEnd = errors.New("the end of the block")

// blockSource reads the bytes of a block, decompressed, and then those behind it, for the line that goes on there.
type blockSource struct {
	part, rest *decompressor
	more       func() (*decompressor, error) // opens rest; nil at the end of the file
	over       bool
}

// newBlockSource reads the block from byte from to byte to of a file.
func newBlockSource(f storage.ReaderAt, kind compression, from, to int64) (*blockSource, error) {
	open := func(from, to int64) (*decompressor, error) {
		d, err := newDecompressor(io.NewSectionReader(f, from, to-from), kind, 0)
		if err == nil {
			d.later = from > 0
		}
		return d, err
	}
	s := &blockSource{}
	if to < f.Size() {
		s.more = func() (*decompressor, error) { return open(to, f.Size()) }
	}
	var err error
	if s.part, err = open(from, to); err != nil {
		return nil, err
	}
	end := s.part.close
	s.part.close = func() { // what closes the block closes what was read behind it
		if end != nil {
			end()
		}
		if s.rest != nil {
			s.rest.Close()
		}
	}
	return s, nil
}

// Read implements io.Reader.
func (s *blockSource) Read(p []byte) (n int, err error) {
	if !s.over {
		n, err := s.part.Read(p)
		if !errors.Is(err, io.EOF) || s.more == nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		s.over = true
		return 0, errBlockEnd
	}
	if s.rest == nil {
		if s.rest, err = s.more(); err != nil {
			return 0, err
		}
	}
	return s.rest.Read(p)
}

// source reads the block of an open file.
func (b *Block) source(path string, f storage.ReaderAt) (*blockSource, error) {
	if err := b.unchanged(path, f); err != nil {
		return nil, err
	}
	kind := plain
	if b.Zstd {
		kind = zstandard
	}
	s, err := newBlockSource(f, kind, b.From, b.To)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// openLines opens a block of lines and goes to the first that begins in it.
func openLines(path, source string, o Options, b Block) (r fileReader, err error) {
	f, err := storage.OpenReaderAt(path)
	if err != nil {
		return r, err
	}
	s, err := b.source(path, f)
	if err != nil {
		f.Close()
		return r, err
	}
	lines := &lineReader{b: bufio.NewReaderSize(s, 64<<10), max: o.MaxRecordBytes}
	r = fileReader{file: f, d: s.part, lines: lines, source: source, o: o, encoding: utf8Encoding.name, index: b.First, kind: b.Rows}
	switch {
	case b.Marked:
		err = lines.discard(len(bom))
	case b.Inside:
		err = lines.skip()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if reason, _ := r.d.classify(err); reason == "" {
			r.Close()
			return r, fmt.Errorf("%s: %w", path, err)
		}
		r.ended, lines.over, lines.begun = true, true, false // the damage is in an earlier block's line, which is rejected there
	}
	return r, nil
}

// eachLines cuts a file of lines, of which r is the reader and base what it has in common with others.
func eachLines(r Reader, base *fileReader, format string, size int64, each func(Block) error) error {
	b := Block{Format: format, Zstd: base.d.kind == zstandard}
	if base.encoding != utf8Encoding.name || !b.Zstd && base.d.kind != plain || b.Zstd && base.o.MaxDecompressed > 0 {
		return each(Block{})
	}
	end := base.file.Size()
	b.Size = end
	var cuts []int64
	var err error
	if b.Zstd {
		if cuts, err = zstdCuts(base.file, size); err != nil {
			return err
		}
	} else {
		for at := int64(0); at < end; at += size {
			cuts = append(cuts, at)
		}
	}
	if len(cuts) < 2 {
		return each(Block{})
	}
	if b.Rows, err = rowsOf(r); err != nil {
		return err
	}
	if b.Marked, err = beginsMarked(base.file, base.d.kind); err != nil {
		return err
	}
	for i, from := range cuts {
		b.Number, b.From, b.To = int64(i), from, end
		if i+1 < len(cuts) {
			b.To = cuts[i+1]
		}
		if err := each(b); err != nil {
			return err
		}
		b.Marked = false
	}
	return nil
}

// beginsMarked says whether a file of UTF-8 begins with a byte order mark.
func beginsMarked(f storage.ReaderAt, kind compression) (bool, error) {
	d, err := newDecompressor(storage.NewReader(f), kind, 0)
	if err != nil {
		return false, err
	}
	defer d.Close()
	head := make([]byte, len(bom))
	if _, err := io.ReadFull(d, head); err != nil {
		if reason, _ := d.classify(err); reason == "" && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		return false, nil // shorter, or damaged: reading says so
	}
	return bytes.Equal(head, bom), nil
}

// Lines is what counting finds in a block.
type Lines struct {
	Breaks  int64 // line breaks, but for one that is the last byte
	Filled  bool  // the block has a byte
	Ends    bool  // the last byte is a line break
	Damaged bool  // the block is damaged; what was counted stands before
}

// CountLines counts the lines of a block of lines.
func CountLines(path string, b Block) (n Lines, err error) {
	f, err := storage.OpenReaderAt(path)
	if err != nil {
		return n, err
	}
	defer f.Close()
	s, err := b.source(path, f)
	if err != nil {
		return n, err
	}
	defer s.part.Close()
	// Read as lines are read, so that what is damaged there is damaged here.
	for r := bufio.NewReaderSize(s, 64<<10); ; {
		part, err := r.ReadSlice('\n')
		if len(part) > 0 {
			if n.Ends {
				n.Breaks++
			}
			n.Filled, n.Ends = true, part[len(part)-1] == '\n'
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF), errors.Is(err, errBlockEnd):
			return n, nil
		default:
			if reason, _ := s.part.classify(err); reason == "" {
				return n, fmt.Errorf("%s: %w", path, err)
			}
			n.Damaged = true
			return n, nil
		}
	}
}

// Places numbers the lines of the blocks of a file. The zero value is at the beginning of one.
type Places struct {
	next    int64
	inside  bool
	damaged bool
}

// Place sets the places of a block's records, from what was counted in it; blocks come in their order. It is false of one behind damage,
// which is not read, as nothing is that follows damage in a compressed file.
func (p *Places) Place(b *Block, n Lines) bool {
	if p.damaged {
		return false
	}
	p.damaged = n.Damaged
	b.First, b.Inside = p.next, p.inside
	if n.Filled {
		if p.next += n.Breaks; !p.inside {
			p.next++
		}
		p.inside = !n.Ends
	}
	return true
}
