package parts

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// The index stands behind the parts: of each its key, length, bytes, records and checksum; then the same of all parts, the width, whether
// there is zstd, how many parts there are, the checksum of all this, and what a file of parts is known by.

const (
	magic      = "AFPARTS1"
	entryBytes = 8 + 8 + 8 + 8 + 4
	tailBytes  = entryBytes + 4 + 4 + 4 + 4 + len(magic)
)

func appendEntry(b []byte, s *Slice) []byte {
	for _, n := range []int64{s.Key, s.Len, s.Bytes, s.Records} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(s.CRC))
}

func readEntry(b []byte) (s Slice) {
	for i, n := range []*int64{&s.Key, &s.Len, &s.Bytes, &s.Records} {
		*n = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	s.CRC = int64(binary.BigEndian.Uint32(b[32:]))
	return s
}

func appendIndex(b []byte, whole *Slice, all []Slice) []byte {
	for i := range all {
		b = appendEntry(b, &all[i])
	}
	b = appendEntry(b, whole)
	packed := uint32(0)
	if whole.Zstd {
		packed = 1
	}
	for _, n := range []uint32{uint32(whole.Width), packed, uint32(len(all))} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, magic...)
}

// Open reads the index of a file of parts and returns what [Writer.Close] did. What is not such a file, or one with a damaged index, is an
// error that names it.
func Open(path string) (all []Slice, whole Slice, err error) {
	r, err := storage.OpenReaderAt(path)
	if err != nil {
		return nil, whole, err
	}
	defer r.Close()
	const most = 1<<cutBits*entryBytes + tailBytes
	b := make([]byte, min(r.Size(), int64(most)))
	if _, err := r.ReadAt(b, r.Size()-int64(len(b))); err != nil && err != io.EOF {
		return nil, whole, fmt.Errorf("%s: %w", path, err)
	}
	if all, whole, err = readIndex(b, r.Size()); err != nil {
		return nil, whole, fmt.Errorf("%s: %w; delete it, and run the stage that writes it again", path, err)
	}
	whole.Path = path
	for i := range all {
		all[i].Path = path
	}
	return all, whole, nil
}

// readIndex reads the index of a file of size bytes at the end of b.
func readIndex(b []byte, size int64) (all []Slice, whole Slice, err error) {
	if len(b) < tailBytes || string(b[len(b)-len(magic):]) != magic {
		return nil, whole, fmt.Errorf("is not a file of parts, or is cut off")
	}
	b = b[:len(b)-len(magic)]
	tail := b[len(b)-16:]
	n := int64(binary.BigEndian.Uint32(tail[8:]))
	index := (n+1)*entryBytes + 16
	if index > int64(len(b)) {
		return nil, whole, fmt.Errorf("has a damaged index")
	}
	b = b[int64(len(b))-index:]
	if crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(tail[12:]) {
		return nil, whole, fmt.Errorf("has a damaged index")
	}
	width, packed := int64(binary.BigEndian.Uint32(tail)), binary.BigEndian.Uint32(tail[4:]) == 1
	at := int64(0)
	for i := range n + 1 {
		s := readEntry(b[i*entryBytes:])
		s.Width, s.Zstd = width, packed
		if i == n {
			whole = s
			break
		}
		s.Off = at
		at += s.Len
		all = append(all, s)
	}
	if whole.Len != at || at+index+int64(len(magic)) != size {
		return nil, whole, fmt.Errorf("has %d bytes where its index says %d", size, at+index+int64(len(magic)))
	}
	return all, whole, nil
}
