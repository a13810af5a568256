package datasets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of Parquet's metadata, far above what any writer makes.
const (
	thriftDepth  = 32        // structs and lists in one another
	thriftItems  = 1 << 14   // elements of lists, beside one for every 8 bytes
	thriftMost   = 1 << 21   // elements of lists in all
	footerBytes  = 256 << 20 // of a file's footer
	headerBytes  = 1 << 20   // of a page's header, with its statistics
	schemaDepth  = 64        // columns in one another
	fixedBytes   = 64 << 10  // of a value of fixed length
	pageBytes    = 64 << 20  // of a page, beside pageRatio times what is stored
	pageRatio    = 256
	pageValues   = 16 << 20 // values of a page, beside 64 for each of its bytes
	shardRows    = 1 << 22  // rows of a file, beside rowsPerByte for each of its bytes
	rowsPerByte  = 1 << 10
	valuesPerRow = 1 << 18 // of a row of nested columns
	rowRatio     = 64      // values of a page or a row for each byte of the page, beside those below
	rowMost      = 1 << 21 // of the rows that are open in all columns
	spreadMost   = 1 << 28 // of the pages that are open in all columns
)

// The types of Thrift's compact protocol that are told apart.
const (
	thriftStop   = 0
	thriftFalse  = 2
	thriftByte   = 3
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// metaWalk walks metadata in Thrift's compact protocol without taking memory for what it says: the decoder takes it for each list before it
// has seen an element.
type metaWalk struct {
	b     []byte
	at    int
	items int
}

func (t *metaWalk) byte() (byte, error) {
	if t.at >= len(t.b) {
		return 0, io.ErrUnexpectedEOF
	}
	t.at++
	return t.b[t.at-1], nil
}

func (t *metaWalk) varint() (uint64, error) {
	v, n := binary.Uvarint(t.b[t.at:])
	if n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if n < 0 {
		return 0, errors.New("damaged file: a number of the metadata has more than 64 bits")
	}
	t.at += n
	return v, nil
}

func (t *metaWalk) whole() (int64, error) {
	v, err := t.varint()
	return int64(v>>1) ^ -int64(v&1), err
}

// count reads how many elements there are, or bytes, of which each takes a byte at least.
func (t *metaWalk) count(n uint64, elements bool) (int, error) {
	if n > uint64(len(t.b)-t.at) {
		return 0, fmt.Errorf("damaged file: the metadata says that %d follow where %d bytes are left: %w", n, len(t.b)-t.at,
			io.ErrUnexpectedEOF)
	}
	if elements {
		if t.items += int(n); t.items > min(thriftItems+len(t.b)/8, thriftMost) {
			return 0, fmt.Errorf("damaged file: lists of %d elements in %d bytes of metadata", t.items, len(t.b))
		}
	}
	return int(n), nil
}

// list reads the head of a list: how many elements of which type.
func (t *metaWalk) list() (n int, typ byte, err error) {
	h, err := t.byte()
	if err != nil {
		return 0, 0, err
	}
	size := uint64(h >> 4)
	if size == 15 {
		if size, err = t.varint(); err != nil {
			return 0, 0, err
		}
	}
	n, err = t.count(size, true)
	return n, h & 15, err
}

// fields calls do for each field of a struct; do reads the value, or says false for it to be skipped.
func (t *metaWalk) fields(depth int, do func(id int16, typ byte) (bool, error)) error {
	for id := int16(0); ; {
		h, err := t.byte()
		if err != nil || h&15 == thriftStop {
			return err
		}
		if d := int16(h >> 4); d > 0 {
			id += d
		} else {
			v, err := t.whole()
			if err != nil {
				return err
			}
			id = int16(v)
		}
		done, err := do(id, h&15)
		if err == nil && !done {
			err = t.skip(h&15, depth+1, false)
		}
		if err != nil {
			return err
		}
	}
}

// skip goes over a value; a truth value has a byte of its own in lists and maps alone.
func (t *metaWalk) skip(typ byte, depth int, element bool) error {
	if depth > thriftDepth {
		return fmt.Errorf("damaged file: metadata nested more than %d deep", thriftDepth)
	}
	bytes := func(n uint64) error {
		k, err := t.count(n, false)
		t.at += k
		return err
	}
	switch {
	case typ <= thriftFalse && !element:
		return nil
	case typ <= thriftByte:
		return bytes(1)
	case typ <= thriftI64:
		_, err := t.varint()
		return err
	case typ == thriftDouble:
		return bytes(8)
	case typ == thriftBinary:
		n, err := t.varint()
		if err != nil {
			return err
		}
		return bytes(n)
	case typ == thriftList || typ == thriftSet:
		n, typ, err := t.list()
		for i := 0; err == nil && i < n; i++ {
			err = t.skip(typ, depth+1, true)
		}
		return err
	case typ == thriftMap:
		size, err := t.varint()
		if err != nil || size == 0 {
			return err
		}
		h, err := t.byte()
		if err != nil {
			return err
		}
		n, err := t.count(size, true)
		for i := 0; err == nil && i < n; i++ {
			if err = t.skip(h>>4, depth+1, true); err == nil {
				err = t.skip(h&15, depth+1, true)
			}
		}
		return err
	case typ == thriftStruct:
		return t.fields(depth, func(int16, byte) (bool, error) { return false, nil })
	}
	return fmt.Errorf("damaged file: metadata of the unknown type %d", typ)
}
