package datasets

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

type compression int

const (
	plain compression = iota
	gzipped
	zstandard
	bzipped
	lz4Frame
)

// compressionOf goes by magic bytes alone; names lie.
func compressionOf(head []byte) compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	case len(head) >= 4 && bytes.HasPrefix(head, []byte("BZh")) && head[3] >= '1' && head[3] <= '9':
		return bzipped
	case bytes.HasPrefix(head, []byte{0x04, 0x22, 0x4d, 0x18}):
		return lz4Frame
	}
	return plain
}

const (
	bombFloor = 32 << 20 // output that is never suspicious, bytes
	bombRatio = 1000     // gzip's greatest possible ratio is 1032, text's is under 100
	maxWindow = 128 << 20
)

var errBomb = errors.New("the content grows beyond the limit when decompressed")

// decompressor reads a file through its compression, bounded in memory and in output.
type decompressor struct {
	r     io.Reader
	kind  compression
	close func()
	in    *countingReader
	out   int64
	limit int64 // 0: by ratio
	later bool  // other frames of the file stand before what is read
	err   error // to be returned when all that stands before it is read
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

var errTrailing = errors.New("bytes that are not a further member follow the end of the compressed data")

// gzipMembers reads a series of gzip members and tells garbage after one from a damaged one.
type gzipMembers struct {
	b *bufio.Reader
	z *gzip.Reader
}

// Read implements io.Reader.
func (m *gzipMembers) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			if n > 0 && errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		head, err := m.b.Peek(2)
		if len(head) == 0 {
			return 0, err
		}
		if compressionOf(head) != gzipped {
			return 0, errTrailing
		}
		if err := m.z.Reset(m.b); err != nil {
			return 0, err
		}
		m.z.Multistream(false)
	}
}

func newDecompressor(r io.Reader, kind compression, limit int64) (*decompressor, error) {
	d := &decompressor{kind: kind, limit: limit, in: &countingReader{r: r}}
	switch kind {
	case plain:
		d.r = d.in
	case gzipped:
		m := &gzipMembers{b: bufio.NewReaderSize(d.in, 32<<10)}
		z, err := gzip.NewReader(m.b)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		z.Multistream(false)
		m.z = z
		d.r, d.close = m, func() { z.Close() }
	case zstandard:
		z, err := zstd.NewReader(d.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		d.r, d.close = z, z.Close
	case bzipped:
		d.r = bzip2.NewReader(d.in)
	case lz4Frame:
		d.r = lz4.NewReader(d.in)
	}
	return d, nil
}

// Read implements io.Reader.
func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if d.kind == zstandard && (d.err != nil || err != nil && !errors.Is(err, io.EOF)) {
		// The decoder says that a frame's checksum is wrong before it gives the end of the frame.
		if d.err == nil {
			if d.err = err; n == 0 {
				n, _ = d.r.Read(p)
			}
		}
		if err = nil; n == 0 {
			err = d.err
		}
	}
	if d.out += int64(n); d.kind != plain {
		limit := d.limit
		if limit == 0 {
			limit = max(bombFloor, bombRatio*d.in.n)
		}
		if d.out > limit {
			return 0, errBomb
		}
	}
	return n, err
}

// Close frees the decoder.
func (d *decompressor) Close() error {
	if d.close != nil {
		d.close()
		d.close = nil
	}
	return nil
}

// classify tells a fault of the file (its reason, and the limit for a bomb) from one of the system (no reason).
func (d *decompressor) classify(err error) (reason, limit string) {
	if errors.Is(err, errBomb) {
		if d.limit > 0 {
			return ReasonDecompressionLimit, fmt.Sprintf("%d bytes", d.limit)
		}
		return ReasonDecompressionLimit, fmt.Sprintf("%d times the compressed size", bombRatio)
	}
	if d.kind == plain {
		return "", ""
	}
	var flateErr flate.CorruptInputError
	var bzErr bzip2.StructuralError
	switch {
	case errors.Is(err, errTrailing):
		return ReasonTrailingGarbage, ""
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonTruncatedFile, ""
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, lz4.ErrInvalidFrameChecksum),
		errors.Is(err, lz4.ErrInvalidBlockChecksum), errors.As(err, &bzErr) && strings.Contains(err.Error(), "checksum"):
		return ReasonBadChecksum, ""
	case (d.out > 0 || d.later) && (errors.Is(err, zstd.ErrMagicMismatch) || errors.Is(err, lz4.ErrInvalidFrame) ||
		errors.As(err, &bzErr) && strings.Contains(err.Error(), "continuation")):
		return ReasonTrailingGarbage, ""
	case errors.As(err, &flateErr), errors.As(err, &bzErr):
		return ReasonCorruptFile, ""
	case isSystem(err):
		return "", ""
	}
	return ReasonCorruptFile, ""
}
