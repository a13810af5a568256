package parts

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"
)

// Records of one width are a place (8 bytes, big-endian) and their bytes; of others the length of these is a varint between the two.

// placeBytes are those of a record's place.
const placeBytes = 8

// appendRecord appends a record as it is stored.
func appendRecord(dst []byte, width int, place uint64, b []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, place)
	if width == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(b)))
	} else if len(b) != width {
		panic(fmt.Sprintf("parts: a record of %d bytes among those of %d", len(b), width))
	}
	return append(dst, b...)
}

// cut takes the first record off b, which is not empty; size 0 says that b is not one of records.
func cut(b []byte, width int) (place uint64, body []byte, size int) {
	if len(b) < placeBytes {
		return 0, nil, 0
	}
	place = binary.BigEndian.Uint64(b)
	from, n := placeBytes, uint64(width)
	if width == 0 {
		length, k := binary.Uvarint(b[placeBytes:])
		if k <= 0 {
			return 0, nil, 0
		}
		from, n = from+k, length
	}
	if n > uint64(len(b)-from) {
		return 0, nil, 0
	}
	to := from + int(n)
	return place, b[from:to:to], to
}

// Records are those of a slice, in the order of their places and, of one place, of their bytes.
type Records struct {
	rest  []byte
	width int
	left  int64

	place uint64 // of the record that is present
	body  []byte
}

// newRecords looks whether all records are whole, in order and within the slice's range.
func newRecords(s *Slice, b []byte) (*Records, error) {
	first, last := Range(s.Key)
	r, count := &Records{rest: b, width: int(s.Width), left: s.Records}, int64(0)
	before, had := uint64(0), []byte(nil)
	for rest := b; len(rest) > 0; count++ {
		place, body, n := cut(rest, r.width)
		if n == 0 {
			return nil, s.damaged(fmt.Sprintf("record %d is cut off", count))
		}
		if place < first || place > last {
			return nil, s.damaged(fmt.Sprintf("record %d lies outside the part", count))
		}
		if count > 0 && compare(before, had, place, body) > 0 {
			return nil, s.damaged(fmt.Sprintf("record %d is out of order", count))
		}
		before, had, rest = place, body, rest[n:]
	}
	if count != s.Records {
		return nil, s.damaged(fmt.Sprintf("it has %d records, %d were written", count, s.Records))
	}
	return r, nil
}

// Len is how many records are left.
func (r *Records) Len() int64 { return r.left }

// Next goes to the next record; false says that there is none.
func (r *Records) Next() bool {
	if len(r.rest) == 0 {
		return false
	}
	var n int
	r.place, r.body, n = cut(r.rest, r.width)
	r.rest = r.rest[n:]
	r.left--
	return true
}

// Record is the place and the bytes of the record that [Records.Next] went to. The bytes stay as they are; who keeps a few of many copies
// them.
func (r *Records) Record() (place uint64, b []byte) { return r.place, r.body }

// readsAtOnce is how many slices [ReadAll] reads at the same time, which hides what an object store takes to answer.
const readsAtOnce = 8

// ReadAll reads slices, in their order.
func ReadAll(all []Slice) ([]*Records, error) {
	out := make([]*Records, len(all))
	var reading errgroup.Group
	reading.SetLimit(readsAtOnce)
	for i := range all {
		reading.Go(func() (err error) {
			out[i], err = all[i].Read()
			return err
		})
	}
	return out, reading.Wait()
}

func compare(p uint64, a []byte, q uint64, b []byte) int {
	if p != q {
		return cmp.Compare(p, q)
	}
	return bytes.Compare(a, b)
}

// Merge gives the records of several slices in the order of their places and, of one place, of their bytes. Equal ones come as often as
// they are there. It uses the lists up.
func Merge(all ...*Records) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		h := make(heap, 0, len(all))
		for _, r := range all {
			if r.Next() {
				h = append(h, r)
			}
		}
		for i := len(h)/2 - 1; i >= 0; i-- {
			h.down(i)
		}
		for len(h) > 0 {
			if !yield(h[0].place, h[0].body) {
				return
			}
			if !h[0].Next() {
				h[0] = h[len(h)-1]
				h = h[:len(h)-1]
			}
			h.down(0)
		}
	}
}

// heap has the list with the least record first.
type heap []*Records

func (h heap) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if compare(h[c].place, h[c].body, h[least].place, h[least].body) < 0 {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
