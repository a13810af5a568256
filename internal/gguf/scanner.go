package gguf

import (
	"bufio"
	"fmt"
	"io"
)

// scanner reads the head of a file and knows how much of the file is left, so that nothing larger is believed. The first error stays in
// err, and all is empty then.
type scanner struct {
	r        *bufio.Reader
	at, size int64
	taken    int64 // bytes of memory that values have
	err      error
	small    [8]byte
}

func newScanner(f io.ReaderAt, size int64) *scanner {
	return &scanner{r: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<16), size: size}
}

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// read fills b.
func (s *scanner) read(b []byte, what string) bool {
	if s.err != nil {
		return false
	}
	if int64(len(b)) > s.size-s.at {
		s.fail("it has %d bytes and ends within %s: it is truncated; download or copy it again", s.size, what)
		return false
	}
	if _, err := io.ReadFull(s.r, b); err != nil {
		s.fail("reading %s: %w", what, err)
		return false
	}
	s.at += int64(len(b))
	return true
}

// bytes reads up to 8 bytes; they are valid until the next call.
func (s *scanner) bytes(n int, what string) []byte {
	b := s.small[:n]
	if !s.read(b, what) {
		clear(b)
	}
	return b
}

func (s *scanner) uint32(what string) uint32 { return little.Uint32(s.bytes(4, what)) }
func (s *scanner) uint64(what string) uint64 { return little.Uint64(s.bytes(8, what)) }

// take accounts for n values of so many bytes in memory and in the file, before memory is taken for them.
func (s *scanner) take(n uint64, memory, file int64, what string) bool {
	left := s.size - s.at
	switch {
	case s.err != nil:
		return false
	case n > uint64(left/file):
		s.fail("%s is said to have %d values or bytes, and %d bytes are left in the file: it is truncated or lies", what, n, left)
		return false
	case n > uint64((maxMeta-s.taken)/memory):
		s.fail("%s is said to have %d values or bytes, by which the metadata would take more than %d MiB", what, n, maxMeta>>20)
		return false
	}
	s.taken += int64(n) * memory
	return true
}

// string reads a string of at most most bytes.
func (s *scanner) string(most uint64, what string) string {
	n := s.uint64(what)
	if s.err == nil && n > most {
		s.fail("%s is said to have %d bytes; at most %d are possible", what, n, most)
	}
	if !s.take(n, 1, 1, what) {
		return ""
	}
	b := make([]byte, n)
	s.read(b, what)
	return string(b)
}

// value reads a value: the number of its kind, and what that says.
func (s *scanner) value(key string) any {
	k := s.kind(key)
	switch {
	case s.err != nil:
		return nil
	case k == stringKind:
		return s.string(maxMeta, key)
	case k != arrayKind:
		return s.one(k, key)
	}
	if k = s.kind(key); k == arrayKind {
		s.fail("%s is an array of arrays, which no model has", key)
	}
	n := s.uint64(key)
	if s.err != nil {
		return nil
	}
	row := &kinds[k]
	if k == stringKind {
		if !s.take(n, 16, 8, key) {
			return nil
		}
		out := make([]string, n)
		for i := range out {
			if out[i] = s.string(maxMeta, key); s.err != nil {
				return nil
			}
		}
		return out
	}
	// Twice the bytes: what is read, and what is made of it.
	if !s.take(n, 2*int64(row.size), int64(row.size), key) {
		return nil
	}
	b := make([]byte, int(n)*row.size)
	if !s.read(b, key) {
		return nil
	}
	if row.name == "bool" {
		s.truths(b, key)
	}
	return row.array(b, int(n))
}

// one reads a value of a fixed size.
func (s *scanner) one(k uint32, key string) any {
	row := &kinds[k]
	b := s.bytes(row.size, key)
	if row.name == "bool" {
		s.truths(b, key)
	}
	if s.err != nil {
		return nil
	}
	return row.read(b)
}

// truths refuses truth values that are neither 0 nor 1.
func (s *scanner) truths(b []byte, key string) {
	for _, c := range b {
		if c > 1 {
			s.fail("%s has the truth value %d, which is neither 0 nor 1", key, c)
			return
		}
	}
}

// kind reads the number of a kind.
func (s *scanner) kind(key string) uint32 {
	k := s.uint32(key)
	if s.err == nil && int(k) >= len(kinds) {
		s.fail("%s is of the type %d, which is unknown", key, k)
		return 0
	}
	return k
}
