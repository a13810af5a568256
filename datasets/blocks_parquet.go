package datasets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// footerShare is how many times the bytes of a file's footer a block has at least: each block reads it anew.
const footerShare = 8

// eachRowGroups cuts a Parquet file between row groups.
func eachRowGroups(r Reader, f *parquet.File, file storage.ReaderAt, size int64, each func(Block) error) error {
	var tail [8]byte
	if _, err := file.ReadAt(tail[:], file.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	size = max(size, footerShare*int64(binary.LittleEndian.Uint32(tail[:])))
	groups := f.Metadata().RowGroups
	holds := func(i int) int64 { return max(groups[i].TotalByteSize, 0) }
	var all []Block
	for i, row := 0, int64(0); i < len(groups); {
		b := Block{Number: int64(len(all)), Format: FormatParquet, Size: file.Size(), From: int64(i), First: row}
		for held := int64(0); i < len(groups) && (held == 0 || holds(i) <= size-held); i++ {
			held += min(holds(i), size-held)
			row += groups[i].NumRows
		}
		b.To = int64(i)
		all = append(all, b)
	}
	if len(all) < 2 {
		return each(Block{})
	}
	rows, err := rowsOf(r)
	if err != nil {
		return err
	}
	for _, b := range all {
		b.Rows = rows
		if err := each(b); err != nil {
			return err
		}
	}
	return nil
}

// openRowGroups opens row groups of a Parquet file.
func openRowGroups(path, source string, o Options, b Block) (_ Reader, err error) {
	r, err := Open(path, source, o)
	if err != nil {
		return nil, err
	}
	defer guard(&err)
	fail := func(err error) (Reader, error) {
		r.Close()
		return nil, err
	}
	outside := func(groups int) error {
		if b.From >= 0 && b.From <= b.To && b.To <= int64(groups) {
			return nil
		}
		return fmt.Errorf("%s: it has %d row groups, and those from %d to %d are wanted: it changed while it was read, run this again",
			path, groups, b.From, b.To)
	}
	switch r := r.(type) {
	case *parquetReader:
		if err := errors.Join(b.unchanged(path, r.file), outside(r.end)); err != nil {
			return fail(err)
		}
		r.group, r.end, r.index = int(b.From), int(b.To), b.First
		return r, nil
	case *parquetRows:
		groups := r.f.RowGroups()
		if err := errors.Join(b.unchanged(path, r.file), outside(len(groups))); err != nil {
			return fail(err)
		}
		if err := r.r.Close(); err != nil {
			return fail(err)
		}
		r.r = parquet.NewGenericRowGroupReader[any](parquet.MultiRowGroup(groups[b.From:b.To]...))
		r.kind, r.index, r.rows = b.Rows, b.First, b.First+r.r.NumRows()
		return r, nil
	}
	return fail(fmt.Errorf("%s: it was Parquet, and is not: it changed while it was read, run this again", path))
}
