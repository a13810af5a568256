package datasets

import (
	"errors"
	"fmt"
	"io"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Large files are read by blocks, on all processors and workers. What of a record depends on the file as a whole, its number and what the
// file is taken for, each block knows before it is read: [EachBlock] sees it from the beginning of the file, and where records are numbered
// by lines, [CountLines] and [Places] number them. So records, their ids and what is rejected are those of the file read from its beginning
// to its end.

// BlockBytes is the size of the blocks that large files are read by: bytes of a file of lines, text in frames of zstd, values in row groups
// of Parquet. It is a constant, since numbers of blocks are in the names of staged files.
const BlockBytes = 16 << 20

// Block is a part of an input file that is read by itself. The zero Block is a whole file.
type Block struct {
	Number int64  // in the file, from 0
	Format string // FormatText, FormatJSONL or FormatParquet; "" of a file that is one block
	Rows   string // the kind of the file's rows, as [Reader].Layout says it
	Zstd   bool   // the bytes are whole frames of zstd
	Marked bool   // the block is the file's first, which begins with a byte order mark
	// From and To are where the block begins, and the next one does: bytes of the file, or of Parquet row groups. A line belongs to the
	// block that it begins in.
	From, To int64
	Size     int64 // of the file, in bytes, when it was cut
	First    int64 // the index of the first record
	Inside   bool  // the block begins inside a line, which is an earlier block's
}

// Counted says whether the index of the block's first record follows from the lines before it, see [CountLines] and [Places].
func (b *Block) Counted() bool { return b.Format == FormatText || b.Format == FormatJSONL }

// EachBlock calls each with the blocks of a file, in order, of about size bytes. These files have several:
//
//   - lines of text or JSONL in UTF-8, at every multiple of size;
//   - the same in zstd, between frames, which are found by their headers, or by the table of a seekable file;
//   - Parquet, between row groups.
//
// Any other file is one block: one of no more than size bytes, of another format, compression or encoding, of a store that has no reads of
// ranges, and one that cannot be read, about which [OpenBlock] then says what is wrong.
func EachBlock(path string, o Options, size int64, each func(Block) error) error {
	whole, ranged, err := storage.RangeSize(path)
	if err != nil || !ranged || whole <= size {
		return each(Block{})
	}
	r, err := Open(path, "", o)
	if err != nil {
		return each(Block{})
	}
	defer r.Close()
	switch r := r.(type) {
	case *jsonlReader:
		return eachLines(r, &r.fileReader, FormatJSONL, size, each)
	case *textLines:
		return eachLines(r, &r.fileReader, FormatText, size, each)
	case *parquetReader:
		return eachRowGroups(r, r.f, r.file, size, each)
	case *parquetRows:
		return eachRowGroups(r, r.f, r.file, size, each)
	}
	return each(Block{})
}

// OpenBlock opens a block for reading. Errors are those of [Open]; a damaged file is read up to the damage, and what follows in the block
// is lost.
func OpenBlock(path, source string, o Options, b Block) (Reader, error) {
	switch {
	case b.Format == "":
		return Open(path, source, o)
	case b.Format == FormatParquet:
		return openRowGroups(path, source, o, b)
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	base, err := openLines(path, source, o, b)
	if err != nil {
		return nil, err
	}
	if b.Format == FormatJSONL {
		return &jsonlReader{fileReader: base}, nil
	}
	return &textLines{base}, nil
}

// unchanged is an error where a file has not the size that it was cut by.
func (b *Block) unchanged(path string, f storage.ReaderAt) error {
	if n := f.Size(); n != b.Size {
		return fmt.Errorf("%s: it had %d bytes and has %d: it changed while it was read, run this again", path, b.Size, n)
	}
	return nil
}

// rowsOf reads a file up to the first row, by which the kind of all is known.
func rowsOf(r Reader) (string, error) {
	for {
		if _, rows := r.Layout(); rows != "" {
			return rows, nil
		}
		if _, _, err := r.Next(); errors.Is(err, io.EOF) {
			return "", nil
		} else if err != nil {
			return "", err
		}
	}
}
