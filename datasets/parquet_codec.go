package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// unpackers decompress what is stored of a page into dst, of at most so many bytes: the decoder's own take the memory that the
// compressed bytes say.
var unpackers = map[format.CompressionCodec]func(dst, src []byte, most int) ([]byte, error){
	format.Snappy: func(dst, src []byte, most int) ([]byte, error) {
		n, err := snappy.DecodedLen(src)
		if err != nil {
			return nil, err
		}
		if n > min(most, 64+64*len(src)) { // 3 bytes make at most 64
			return nil, errUnpacked
		}
		return snappy.Decode(room(dst, n)[:n], src)
	},
	format.Lz4Raw: func(dst, src []byte, most int) ([]byte, error) {
		n := min(most, 64+256*len(src)) // a byte makes at most 255
		dst = room(dst, n)[:n]
		n, err := lz4.UncompressBlock(src, dst)
		if err != nil {
			return nil, err
		}
		return dst[:n], nil
	},
	format.Zstd: func(dst, src []byte, most int) ([]byte, error) {
		z := zstdDecoders.Get().(*zstd.Decoder)
		defer zstdDecoders.Put(z)
		for n := min(most, 1<<20+64*len(src)); ; n = min(most, 8*n) {
			dst = room(dst, n)
			out, err := z.DecodeAll(src, dst[:0:n])
			if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
				return out, err
			}
			if n == most {
				return nil, errUnpacked
			}
		}
	},
	format.Gzip: func(dst, src []byte, most int) ([]byte, error) {
		z := gzipReaders.Get().(*gzip.Reader)
		defer gzipReaders.Put(z)
		if err := z.Reset(bytes.NewReader(src)); err != nil {
			return nil, err
		}
		return readMost(dst, z, most)
	},
	format.Brotli: func(dst, src []byte, most int) ([]byte, error) {
		z := brotliReaders.Get().(*brotli.Reader)
		defer brotliReaders.Put(z)
		if err := z.Reset(bytes.NewReader(src)); err != nil {
			return nil, err
		}
		return readMost(dst, z, most)
	},
}

var (
	zstdDecoders = sync.Pool{New: func() any {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil { // of options that are right
			panic(err)
		}
		return z
	}}
	gzipReaders   = sync.Pool{New: func() any { return new(gzip.Reader) }}
	brotliReaders = sync.Pool{New: func() any { return brotli.NewReader(nil) }}
)

var errUnpacked = errors.New("the compressed bytes become more than its header says")

// room is dst, or another, with a capacity of n bytes.
func room(dst []byte, n int) []byte {
	if cap(dst) < n {
		return make([]byte, 0, n)
	}
	return dst[:0]
}

// readMost reads to the end; more than most bytes are an error. The memory grows with what was read.
func readMost(dst []byte, r io.Reader, most int) ([]byte, error) {
	dst = room(dst, min(most, 64<<10))
	for {
		if len(dst) == cap(dst) {
			dst = append(make([]byte, 0, max(64, min(most+1, 4*cap(dst)))), dst...)
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > most:
			return nil, errUnpacked
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return nil, err
		}
	}
}

// unpackPage decompresses what is stored of a page.
func unpackPage(codec format.CompressionCodec, dst, src []byte, most int64) ([]byte, error) {
	f := unpackers[codec]
	if f == nil {
		return nil, fmt.Errorf("unsupported compression codec: %s", codec)
	}
	if len(src) == 0 {
		return nil, nil
	}
	out, err := f(dst, src, int(most))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", codec, err)
	}
	return out, nil
}
