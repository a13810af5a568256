package datasets

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// window is the room of a column's pages in a row group, as the decoder sees the file.
const window = 1 << 40

// pageFile is a Parquet file as the decoder sees it: without compression, each page walked before, and without indexes. The
// decoder takes memory for what a page says of itself; its pages begin in windows of their own, wherever they lie in the file.
type pageFile struct {
	storage.ReaderAt
	chunks []chunk
	footer []byte
	mu     sync.Mutex
	spread int64 // values that take no bytes, of pages that are open
	rows   int64 // values of open rows beside those whose bytes there are
}

// chunk is the pages of a column in a row group.
type chunk struct {
	leafOf
	codec    format.CompressionCodec
	from, to int64 // in the file
	values   int64 // as the footer says

	mu     sync.Mutex
	places []place // of the pages that were seen
	page   int     // the open page, behind whose end is places[page+1]
	head   []byte  // of the open page
	body   []byte
	buf    []byte // for body
	raw    []byte // bytes of the file from byte rawAt on
	rawAt  int64
	row    int64 // repeated values of the row at the end of what was seen
	spread int64 // of the open page, in pageFile.spread
	rows   int64 // in pageFile.rows
}

// place is where a page begins, in the file and in the window.
type place struct{ file, window int64 }

// newPageFile checks what the metadata says of rows and chunks of columns, and says of them where the decoder finds them.
func newPageFile(r storage.ReaderAt, footer []byte) (*pageFile, error) {
	var m format.FileMetaData
	p := new(thrift.CompactProtocol)
	if err := thrift.Unmarshal(p, footer, &m); err != nil {
		return nil, fmt.Errorf("reading parquet file metadata: %w", err)
	}
	g := &pageFile{ReaderAt: r}
	cols := leaves(m.Schema)
	var rows int64
	for i, rg := range m.RowGroups {
		if rg.NumRows < 0 || rg.NumRows > 1<<40 {
			return nil, fmt.Errorf("damaged file: row group %d has %d rows", i, rg.NumRows)
		}
		rows += rg.NumRows
		if len(rg.Columns) != len(cols) {
			return nil, fmt.Errorf("damaged file: row group %d has %d columns, the schema %d", i, len(rg.Columns), len(cols))
		}
		for j := range rg.Columns {
			c := &rg.Columns[j]
			d := &c.MetaData
			from := d.DataPageOffset
			if d.DictionaryPageOffset != 0 {
				from = d.DictionaryPageOffset
			}
			switch {
			case d.NumValues < 0 || d.NumValues > 1<<48:
				return nil, fmt.Errorf("damaged file: column %d of row group %d has %d values", j, i, d.NumValues)
			case d.TotalCompressedSize < 0 || from < 0 || d.TotalCompressedSize > r.Size() ||
				from > r.Size()-d.TotalCompressedSize:
				return nil, fmt.Errorf("damaged file: column %d of row group %d has %d bytes from byte %d on, the file %d in all",
					j, i, d.TotalCompressedSize, from, r.Size())
			case d.DataPageOffset != 0 && // 0 of a column without a page
				(d.DataPageOffset < from || d.DataPageOffset > from+d.TotalCompressedSize):
				return nil, fmt.Errorf("damaged file: column %d of row group %d has pages from byte %d on, and %d bytes from byte %d on",
					j, i, d.DataPageOffset, d.TotalCompressedSize, from)
			}
			g.chunks = append(g.chunks,
				chunk{leafOf: cols[j], codec: d.Codec, from: from, to: from + d.TotalCompressedSize, values: d.NumValues, page: -1})
			d.Codec = format.Uncompressed
			d.DataPageOffset, d.DictionaryPageOffset, d.TotalCompressedSize = 4+window*int64(len(g.chunks)-1), 0, window
			d.IndexPageOffset, d.BloomFilterOffset, d.BloomFilterLength = 0, 0, 0
			c.OffsetIndexOffset, c.OffsetIndexLength, c.ColumnIndexOffset, c.ColumnIndexLength = 0, 0, 0, 0
		}
	}
	if rows != m.NumRows {
		return nil, fmt.Errorf("damaged file: the file has %d rows, its row groups %d", m.NumRows, rows)
	}
	order := make([]int, len(g.chunks))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(g.chunks[a].from, g.chunks[b].from) })
	end := int64(0)
	for _, i := range order {
		if c := &g.chunks[i]; c.to > c.from {
			if c.from < end {
				return nil, fmt.Errorf("damaged file: two columns share the bytes from %d on", c.from)
			}
			end = c.to
		}
	}
	var err error
	if g.footer, err = thrift.Marshal(p, &m); err != nil {
		return nil, err
	}
	g.footer = append(binary.LittleEndian.AppendUint32(g.footer, uint32(len(g.footer))), "PAR1"...)
	return g, nil
}

// Size is the size as the decoder sees it.
func (g *pageFile) Size() int64 { return 4 + window*int64(len(g.chunks)) + int64(len(g.footer)) }

// ReadAt implements io.ReaderAt of the file as the decoder sees it.
func (g *pageFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 4 {
		n, err := g.ReaderAt.ReadAt(p[:min(len(p), int(4-off))], off)
		if err == nil && n < len(p) {
			err = io.ErrUnexpectedEOF // nothing is read over an edge
		}
		return n, err
	}
	off -= 4
	if end := window * int64(len(g.chunks)); off >= end {
		n := copy(p, g.footer[min(off-end, int64(len(g.footer))):])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	c := &g.chunks[off/window]
	c.mu.Lock()
	defer c.mu.Unlock()
	n, off := 0, off%window
	for n < len(p) {
		if err := g.seek(c, off); err != nil {
			return n, err
		}
		at := int(off - c.places[c.page].window)
		var k int
		if at < len(c.head) {
			k = copy(p[n:], c.head[at:])
		} else {
			k = copy(p[n:], c.body[at-len(c.head):])
		}
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// seek opens the page that holds a byte of the window.
func (g *pageFile) seek(c *chunk, off int64) error {
	if len(c.places) == 0 {
		c.places = append(c.places, place{c.from, 0})
	}
	i := c.page // mostly this one, or the next
	if i < 0 || off < c.places[i].window || off >= c.places[i+1].window {
		i = sort.Search(len(c.places), func(i int) bool { return c.places[i].window > off }) - 1
	}
	for ; ; i++ {
		if i != c.page {
			if err := g.open(c, i); err != nil {
				return err
			}
		}
		if off < c.places[i+1].window {
			return nil
		}
	}
}

// open reads a page, of which the place is known.
func (g *pageFile) open(c *chunk, i int) error {
	c.page, c.head, c.body = -1, nil, nil
	file := c.places[i].file
	if file >= c.to {
		g.close(c)
		return io.EOF
	}
	fail := func(err error) error { return fmt.Errorf("damaged file: the page at byte %d: %w", file, err) }
	h, n, err := g.header(c, file)
	if err != nil {
		return fail(err)
	}
	raw, err := g.raw(c, file+int64(n), int(h.CompressedPageSize))
	if err != nil {
		return fail(err)
	}
	if h.CRC != 0 && crc32.ChecksumIEEE(raw) != uint32(h.CRC) {
		return fail(errors.New("crc32 checksum mismatch"))
	}
	if c.body, err = c.unpack(h, raw); err != nil {
		return fail(err)
	}
	known := i+1 < len(c.places)
	if err := g.walk(c, h, known); err != nil {
		return fail(err)
	}
	h.CompressedPageSize, h.UncompressedPageSize, h.CRC = int32(len(c.body)), int32(len(c.body)), 0
	h.DataPageHeader.V.Statistics, h.DataPageHeaderV2.V.Statistics = format.Statistics{}, format.Statistics{}
	if c.head, err = thrift.Marshal(new(thrift.CompactProtocol), h); err != nil {
		return fail(err)
	}
	if !known {
		c.places = append(c.places, place{file + int64(n) + int64(len(raw)), c.places[i].window + int64(len(c.head)) + int64(len(c.body))})
	}
	c.page = i
	return nil
}

// close lets go of the memory at the end of a chunk.
func (g *pageFile) close(c *chunk) {
	g.spreads(c, 0, 0)
	c.raw, c.buf = nil, nil
}

// raw returns n bytes of the file.
func (g *pageFile) raw(c *chunk, at int64, n int) ([]byte, error) {
	if at < c.rawAt || at+int64(n) > c.rawAt+int64(len(c.raw)) {
		size := int(min(max(int64(n), 256<<10), c.to-at))
		if cap(c.raw) < size {
			c.raw = make([]byte, size)
		}
		c.raw, c.rawAt = c.raw[:size], at
		if k, err := g.ReaderAt.ReadAt(c.raw, at); k < size {
			c.raw = c.raw[:0]
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	at -= c.rawAt
	return c.raw[at : at+int64(n)], nil
}

// header reads the header of a page and is an error when it is out of proportion; n are its bytes.
func (g *pageFile) header(c *chunk, at int64) (h *format.PageHeader, n int, err error) {
	for size := int64(512); ; size *= 8 {
		size = min(size, headerBytes, c.to-at)
		b, err := g.raw(c, at, int(size))
		if err != nil {
			return nil, 0, err
		}
		t := metaWalk{b: b}
		said, err := t.pageHeader()
		if errors.Is(err, io.ErrUnexpectedEOF) && size < min(headerBytes, c.to-at) { // there is more of it
			continue
		}
		if err == nil {
			err = said.check(c, c.to-at-int64(t.at))
		}
		if err != nil {
			return nil, 0, err
		}
		h := new(format.PageHeader)
		return h, t.at, thrift.Unmarshal(new(thrift.CompactProtocol), b[:t.at], h)
	}
}

// unpack returns what a page holds: of the second version the levels are not compressed.
func (c *chunk) unpack(h *format.PageHeader, raw []byte) ([]byte, error) {
	if c.codec == format.Uncompressed {
		return raw, nil
	}
	levels := 0
	if h.Type == format.DataPageV2 {
		v := &h.DataPageHeaderV2.V
		if levels = int(v.RepetitionLevelsByteLength) + int(v.DefinitionLevelsByteLength); levels < 0 || levels > len(raw) {
			return nil, fmt.Errorf("levels of %d bytes, it has %d", levels, len(raw))
		}
		if v.IsCompressed.Valid && !v.IsCompressed.V {
			return raw, nil
		}
	}
	out, err := unpackPage(c.codec, c.buf, raw[levels:], int64(h.UncompressedPageSize))
	if err != nil {
		return nil, err
	}
	if c.buf = out; levels > 0 {
		out = slices.Concat(raw[:levels], out)
	}
	return out, nil
}

// walk looks at what a page holds before the decoder does.
func (g *pageFile) walk(c *chunk, h *format.PageHeader, known bool) (err error) {
	b := c.body
	var reps, defs []byte
	var n int64
	var coding format.Encoding
	var bitPacked bool // levels as they were written long ago: as many as there are bytes for
	switch {
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		v := &h.DataPageHeader.V
		n, coding = int64(v.NumValues), v.Encoding
		for _, l := range []struct {
			highest int
			coding  format.Encoding
			to      *[]byte
		}{{c.leafOf.reps, v.RepetitionLevelEncoding, &reps}, {c.defs, v.DefinitionLevelEncoding, &defs}} {
			if l.highest == 0 {
				continue
			}
			if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) > int64(len(b)-4) {
				return fmt.Errorf("levels that are longer than it: %w", io.ErrUnexpectedEOF)
			}
			size := int(binary.LittleEndian.Uint32(b))
			*l.to, b = b[4:4+size], b[4+size:]
			bitPacked = bitPacked || l.coding != format.RLE
		}
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		v := &h.DataPageHeaderV2.V
		n, coding = int64(v.NumValues), v.Encoding
		r, d := int64(v.RepetitionLevelsByteLength), int64(v.DefinitionLevelsByteLength)
		if r < 0 || d < 0 || r+d > int64(len(b)) {
			return fmt.Errorf("levels of %d and %d bytes, it has %d", r, d, len(b))
		}
		reps, defs, b = b[:r], b[r:r+d], b[r+d:]
		if v.NumNulls < 0 || v.NumNulls > v.NumValues {
			return fmt.Errorf("%d values, of which %d are null", n, v.NumNulls)
		}
	default:
		return nil // the header's check has bounded the rest
	}
	there, row, rows := n, int64(0), int64(0)
	if c.leafOf.reps > 0 && !bitPacked {
		var longest int64
		if row, longest, err = repetitions(reps, c.leafOf.reps, n, c.row); err != nil {
			return fmt.Errorf("repetition levels: %w", err)
		}
		rows = longest - rowRatio*int64(len(c.body))
	}
	if c.defs > 0 && !bitPacked {
		if there, err = definitions(defs, c.defs, n); err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
	}
	if h.Type == format.DataPageV2 {
		there = n - int64(h.DataPageHeaderV2.V.NumNulls)
	}
	if err := c.leafOf.values(coding, b, there); err != nil {
		return err
	}
	if !known {
		c.row = row
	}
	return g.spreads(c, max(0, n-rowRatio*int64(len(c.body))), max(0, rows))
}

// spreads bounds the values that take no bytes of all pages that are open, and those of rows.
func (g *pageFile) spreads(c *chunk, values, rows int64) error {
	if values == c.spread && rows == c.rows {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spread, g.rows = g.spread+values-c.spread, g.rows+rows-c.rows
	c.spread, c.rows = values, rows
	switch {
	case g.spread > spreadMost:
		return fmt.Errorf("%d values that are said without bytes, in the pages that are open", g.spread)
	case g.rows > rowMost:
		return fmt.Errorf("a row of %d values that are said without bytes", g.rows)
	}
	return nil
}
