package datasets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/format"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// checkFooter reads the footer of a file and is an error when it cannot be what it says: the decoder takes memory, and goes as
// deep, as the footer says.
func checkFooter(r storage.ReaderAt) (footer []byte, err error) {
	var tail [8]byte
	if r.Size() < 12 {
		return nil, fmt.Errorf("a Parquet file of %d bytes: %w", r.Size(), io.ErrUnexpectedEOF)
	}
	if _, err := r.ReadAt(tail[:], r.Size()-8); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(tail[4:]) != "PAR1" {
		return nil, nil // the decoder says so
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > r.Size()-12 || n > footerBytes {
		return nil, fmt.Errorf("damaged file: its last bytes say that it has %d bytes of metadata, of %d bytes in all", n, r.Size())
	}
	t := metaWalk{b: make([]byte, n)}
	if k, err := r.ReadAt(t.b, r.Size()-8-n); int64(k) < n {
		return nil, err
	}
	return t.b, t.fields(0, func(id int16, typ byte) (bool, error) {
		if id != 2 || typ != thriftList {
			return false, nil
		}
		return true, t.schema()
	})
}

// schema reads the list of a schema's elements, each with those below it behind it.
func (t *metaWalk) schema() error {
	n, typ, err := t.list()
	var open []int64 // of each level, the elements that are still to come
	for i := 0; err == nil && i < n; i++ {
		if typ != thriftStruct {
			err = t.skip(typ, 1, true)
			continue
		}
		var length, kids int64
		err = t.fields(1, func(id int16, typ byte) (bool, error) {
			if typ <= thriftByte || typ > thriftI64 || id != 2 && id != 5 {
				return false, nil
			}
			v, err := t.whole()
			if id == 2 {
				length = v
			} else {
				kids = v
			}
			return true, err
		})
		for len(open) > 0 && open[len(open)-1] == 0 {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			open[len(open)-1]--
		}
		if kids > 0 {
			open = append(open, kids)
		}
		switch {
		case err != nil:
		case length < 0 || length > fixedBytes:
			err = fmt.Errorf("damaged file: column %d has values of %d bytes", i, length)
		case kids < 0 || kids > int64(n):
			err = fmt.Errorf("damaged file: column %d has %d columns below it, the schema %d in all", i, kids, n)
		case len(open) > schemaDepth:
			err = fmt.Errorf("damaged file: columns nested more than %d deep", schemaDepth)
		}
	}
	return err
}

// pageHeader is what a page's header says of sizes; index that its values are places in a dictionary, dictionary that it is one.
type pageHeader struct {
	kind, uncompressed, compressed, values int64
	index, dictionary                      bool
}

func (t *metaWalk) pageHeader() (h pageHeader, err error) {
	number := func(typ byte, to *int64) (bool, error) {
		if typ <= thriftByte || typ > thriftI64 {
			return false, nil
		}
		var err error
		*to, err = t.whole()
		return true, err
	}
	err = t.fields(0, func(id int16, typ byte) (bool, error) {
		switch {
		case id == 1:
			return number(typ, &h.kind)
		case id == 2:
			return number(typ, &h.uncompressed)
		case id == 3:
			return number(typ, &h.compressed)
		case typ == thriftStruct && (id == 5 || id == 7 || id == 8): // of values, a dictionary, and values in the second version
			h.dictionary = id == 7
			coding := map[int16]int16{5: 2, 7: 2, 8: 4}[id]
			return true, t.fields(1, func(sub int16, typ byte) (bool, error) {
				switch sub {
				case 1:
					return number(typ, &h.values)
				case coding:
					var v int64
					ok, err := number(typ, &v)
					//lint:ignore SA1019 older writers still name their pages so
					h.index = v == int64(format.PlainDictionary) || v == int64(format.RLEDictionary)
					return ok, err
				}
				return false, nil
			})
		}
		return false, nil
	})
	return h, err
}

// check is an error for a page that takes memory out of proportion to what is stored of it; left are the bytes behind its header.
func (h pageHeader) check(c *chunk, left int64) error {
	switch {
	case h.kind < 0 || h.kind > int64(format.DataPageV2):
		return fmt.Errorf("it is of the unknown kind %d", h.kind)
	case h.compressed < 0 || h.compressed > left:
		return fmt.Errorf("it has %d bytes where %d are left of its column: %w", h.compressed, left, io.ErrUnexpectedEOF)
	case h.uncompressed < 0 || h.uncompressed > pageBytes+pageRatio*h.compressed:
		return fmt.Errorf("%d bytes become %d", h.compressed, h.uncompressed)
	case h.values < 0 || h.dictionary && h.values > h.uncompressed:
		return fmt.Errorf("%d values in %d bytes", h.values, h.uncompressed)
	case !h.dictionary && h.values > min(c.values, pageValues+64*h.uncompressed):
		return fmt.Errorf("%d values in %d bytes, its column has %d", h.values, h.uncompressed, c.values)
	case c.fixed > 0 && (h.dictionary || !h.index) && h.values > (pageBytes+pageRatio*h.uncompressed)/c.fixed:
		return fmt.Errorf("%d values of %d bytes in %d bytes", h.values, c.fixed, h.uncompressed)
	}
	return nil
}
