package parts

import (
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Slice is a reference to a part of a file, or to all of its parts: what travels in place of the records. It has no lists, so that any
// runner moves it.
type Slice struct {
	Path    string `beam:"path"`
	Key     int64  `beam:"key"`     // of the range that its places lie in: see [Range]
	Off     int64  `beam:"off"`     // where it begins in the file
	Len     int64  `beam:"len"`     // how many bytes of the file it has, as they are stored
	Bytes   int64  `beam:"bytes"`   // of the records once they are read: what who holds them takes
	Records int64  `beam:"records"` // how many there are
	CRC     int64  `beam:"crc"`     // CRC-32C of what is stored
	Width   int64  `beam:"width"`   // bytes of each record, 0 where they differ
	Zstd    bool   `beam:"zstd"`    // whether what is stored has to be decompressed
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decoder is the process's.
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0))
})

// damaged is the error of a file that is not what a slice says.
func (s *Slice) damaged(what string) error {
	return fmt.Errorf("%s, bytes %d to %d: %s: the file was damaged or changed after it was written; delete it, and run the stage that "+
		"writes it again", s.Path, s.Off, s.Off+s.Len, what)
}

// Read reads the slice by one read of a range. What is not what was written is an error that names the file.
func (s *Slice) Read() (*Records, error) {
	if s.Off < 0 || s.Len < 0 || s.Bytes < 0 || s.Records < 0 || s.Width < 0 {
		return nil, s.damaged("the reference to it has a number below 0")
	}
	b, err := storage.ReadRange(s.Path, s.Off, s.Len)
	if err != nil {
		return nil, fmt.Errorf("a part of staged records: %w; run the stage that writes it again", err)
	}
	if int64(crc32.Checksum(b, castagnoli)) != s.CRC {
		return nil, s.damaged("the checksum of the part is another")
	}
	if s.Zstd {
		d, err := decoder()
		if err != nil {
			return nil, err
		}
		if b, err = d.DecodeAll(b, make([]byte, 0, s.Bytes)); err != nil {
			return nil, s.damaged(err.Error())
		}
	}
	if int64(len(b)) != s.Bytes {
		return nil, s.damaged(fmt.Sprintf("it has %d bytes of records, %d were written", len(b), s.Bytes))
	}
	return newRecords(s, b)
}
