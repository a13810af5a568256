package datasets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// zstdFrame is where a frame begins and ends in a file, and how many bytes it holds, -1 where its header does not say so.
type zstdFrame struct{ from, to, holds int64 }

// The seekable format of zstd: a skippable frame at the end of the file, which lists the frames. See contrib/seekable_format of zstd.
const (
	seekMagic      = 0x8f92eab1 // of its last four bytes
	seekTableMagic = 0x184d2a5e // of the skippable frame
	seekFooter     = 9          // bytes: number of frames, descriptor, magic
	seekFrames     = 0x8000000  // as many as a table has at most
)

// zstdCuts are where the blocks of a file of frames begin: whole frames of size bytes together, one at least. What is behind the last whole
// frame, damaged or no frame at all, belongs to the last block.
func zstdCuts(f storage.ReaderAt, size int64) ([]int64, error) {
	cuts, held := []int64{0}, int64(0)
	add := func(fr zstdFrame) error {
		n := fr.holds
		if n < 0 {
			n = fr.to - fr.from
		}
		if held > 0 && n > size-held {
			cuts, held = append(cuts, fr.from), 0
		}
		held += min(n, size-held)
		return nil
	}
	ok, err := seekTable(f, add)
	if err == nil && ok {
		if ok, err = allFrames(f, cuts); ok {
			return cuts, err
		}
	}
	if err != nil {
		return nil, err
	}
	cuts, held = cuts[:1], 0
	return cuts, walkFrames(f, add)
}

// walkFrames calls each with the frames of a file, in order, up to what is not a whole frame. Frames are not decompressed: of each of their
// blocks, which are 128 KiB of text at most, the header is read.
func walkFrames(f storage.ReaderAt, each func(zstdFrame) error) error {
	w := &headWindow{f: f}
	for at := int64(0); at < f.Size(); {
		head, err := w.at(at, zstd.HeaderMaxSize)
		if err != nil {
			return err
		}
		var h zstd.Header
		if h.Decode(head) != nil {
			return nil
		}
		fr := zstdFrame{from: at, to: at + int64(h.HeaderSize), holds: -1}
		if h.HasFCS && h.FrameContentSize < 1<<62 {
			fr.holds = int64(h.FrameContentSize)
		}
		if h.Skippable {
			fr.to, fr.holds = fr.to+int64(h.SkippableSize), 0
		}
		for last := h.Skippable; !last; {
			b, err := w.at(fr.to, 3)
			if err != nil {
				return err
			}
			if len(b) < 3 {
				return nil
			}
			head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
			n := int64(head >> 3)
			switch last = head&1 == 1; head >> 1 & 3 {
			case 1: // one byte, repeated
				n = 1
			case 3:
				return nil
			}
			fr.to += 3 + n
		}
		if h.HasCheckSum {
			fr.to += 4
		}
		if fr.to > f.Size() {
			return nil
		}
		if err := each(fr); err != nil {
			return err
		}
		at = fr.to
	}
	return nil
}

// headWindow reads headers that stand one after another in a file, small ones together.
type headWindow struct {
	f    storage.ReaderAt
	from int64
	buf  []byte
}

// at returns up to n bytes, fewer at the end of the file.
func (w *headWindow) at(off int64, n int) ([]byte, error) {
	if end := off + int64(n); off < w.from || end > w.from+int64(len(w.buf)) {
		if off >= w.f.Size() {
			return nil, nil
		}
		if w.buf == nil {
			w.buf = make([]byte, 4<<10)
		}
		k, err := w.f.ReadAt(w.buf[:cap(w.buf)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		w.from, w.buf = off, w.buf[:k]
	}
	rest := w.buf[off-w.from:]
	return rest[:min(n, len(rest))], nil
}

// seekTable calls each with the frames that the table of a seekable file lists. ok is false where the file has none that is right.
func seekTable(f storage.ReaderAt, each func(zstdFrame) error) (ok bool, err error) {
	var foot [seekFooter]byte
	tableEnd := f.Size() - seekFooter
	if tableEnd < 8 {
		return false, nil
	}
	if _, err := f.ReadAt(foot[:], tableEnd); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	n, entry := int64(binary.LittleEndian.Uint32(foot[:])), int64(8)
	if foot[4]&0x80 != 0 { // checksums
		entry = 12
	}
	from := tableEnd - n*entry
	if binary.LittleEndian.Uint32(foot[5:]) != seekMagic || foot[4]&0x7c != 0 || n > seekFrames || from < 8 {
		return false, nil
	}
	var head [8]byte
	if _, err := f.ReadAt(head[:], from-8); err != nil {
		return false, err
	}
	if binary.LittleEndian.Uint32(head[:]) != seekTableMagic || int64(binary.LittleEndian.Uint32(head[4:])) != n*entry+seekFooter {
		return false, nil
	}
	at, total := int64(0), from-8
	table := io.NewSectionReader(f, from, n*entry)
	for buf := make([]byte, entry*(4<<10)); n > 0; {
		rows := buf[:entry*min(n, 4<<10)]
		if _, err := io.ReadFull(table, rows); err != nil {
			return false, fmt.Errorf("the table of the zstd file: %w", err)
		}
		for ; len(rows) > 0; rows, n = rows[entry:], n-1 {
			size, holds := int64(binary.LittleEndian.Uint32(rows)), int64(binary.LittleEndian.Uint32(rows[4:]))
			if size == 0 || size > total-at {
				return false, nil
			}
			if err := each(zstdFrame{at, at + size, holds}); err != nil {
				return false, err
			}
			at += size
		}
	}
	return at == total, nil
}

// allFrames says whether a frame begins at each place.
func allFrames(f storage.ReaderAt, places []int64) (bool, error) {
	head := make([]byte, zstd.HeaderMaxSize)
	for _, at := range places {
		n, err := f.ReadAt(head, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		var h zstd.Header
		if h.Decode(head[:n]) != nil {
			return false, nil
		}
	}
	return true, nil
}
