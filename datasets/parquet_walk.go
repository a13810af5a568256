package datasets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// What a decoder takes memory for inside a page, and only a page's bytes show: runs of levels and of dictionary indexes, counts
// and lengths of the DELTA encodings. They are walked run by run, not value by value.

// leafOf is what is known of a column of values from the schema.
type leafOf struct {
	reps, defs int // the highest levels
	kind       format.Type
	fixed      int64 // length of FIXED_LEN_BYTE_ARRAY
}

// leaves lists the columns of values in the order of the row groups' columns.
func leaves(schema []format.SchemaElement) (out []leafOf) {
	at := 0
	var walk func(reps, defs, depth int)
	walk = func(reps, defs, depth int) {
		if at >= len(schema) || depth > schemaDepth {
			return
		}
		e := &schema[at]
		at++
		if depth > 0 && e.RepetitionType.Valid && e.RepetitionType.V != format.Required {
			defs++
			if e.RepetitionType.V == format.Repeated {
				reps++
			}
		}
		if e.Type.Valid {
			l := leafOf{reps: reps, defs: defs, kind: e.Type.V}
			if l.kind == format.FixedLenByteArray && e.TypeLength.Valid {
				l.fixed = int64(e.TypeLength.V)
			}
			out = append(out, l)
			return
		}
		if e.NumChildren.Valid {
			for range e.NumChildren.V {
				walk(reps, defs, depth+1)
			}
		}
	}
	walk(0, 0, 0)
	return out
}

// spare is how many values more than it needs a hybrid may have: groups are of 8 values, and a run that was begun has up to 63
// groups.
const spare = 1024

// hybrid walks the runs of RLE and bit-packed values and is an error when they are more than n. each, when not nil, receives
// each run: how often a value is repeated, or the bytes of bit-packed ones.
func hybrid(b []byte, width uint, n int64, each func(times int64, value byte, packed []byte)) error {
	size, total := int(width+7)/8, int64(0)
	for at := 0; at < len(b); {
		u, k := binary.Uvarint(b[at:])
		if k <= 0 {
			return nil // the decoder says so
		}
		at += k
		count, packed := u>>1, u&1 != 0
		if packed && count <= 1<<40 {
			count *= 8
		}
		if count > uint64(n+spare-total) {
			return fmt.Errorf("a run of %d values, the page has %d", count, n)
		}
		total += int64(count)
		if count == 0 {
			continue
		}
		var rest []byte
		if packed {
			size := min(int(count)/8*int(width), len(b)-at)
			rest, at = b[at:at+size], at+size
		} else {
			size := min(size, len(b)-at)
			rest, at = b[at:at+size], at+size
		}
		switch {
		case each == nil:
		case packed:
			each(0, 0, rest)
		case len(rest) > 0:
			each(int64(count), rest[0], nil)
		default:
			each(int64(count), 0, nil)
		}
	}
	return nil
}

// eachLevel calls do for each of the bit-packed levels.
func eachLevel(packed []byte, width int, do func(level byte)) {
	mask := uint64(1)<<width - 1
	for len(packed) > 0 {
		var group [8]byte
		n := copy(group[:min(width, 8)], packed)
		packed = packed[n:]
		v := binary.LittleEndian.Uint64(group[:])
		for range n * 8 / width {
			do(byte(v & mask))
			v >>= width
		}
	}
}

// definitions counts the values that are there, at most n.
func definitions(b []byte, highest int, n int64) (there int64, err error) {
	width := bits.Len(uint(highest))
	err = hybrid(b, uint(width), n, func(times int64, value byte, packed []byte) {
		switch {
		case times > 0 && int(value) == highest:
			there += times
		case width == 1:
			for _, x := range packed {
				there += int64(bits.OnesCount8(x))
			}
		default:
			eachLevel(packed, width, func(level byte) {
				if int(level) == highest {
					there++
				}
			})
		}
	})
	return min(there, n), err
}

// repetitions walks the levels of lists and returns of how many repeated values the row at the end is; open is that of the row
// before, and longest that of the longest.
func repetitions(b []byte, highest int, n, open int64) (last, longest int64, err error) {
	width := bits.Len(uint(highest))
	longest = open
	err = hybrid(b, uint(width), n, func(times int64, value byte, packed []byte) {
		switch {
		case times > 0 && value == 0:
			open = 0
		case times > 0:
			open += times
		case width == 1 && len(packed) > 0:
			for _, x := range packed {
				if x != 0xff {
					open = int64(bits.LeadingZeros8(^x))
					continue
				}
				open += 8
			}
		default:
			eachLevel(packed, width, func(level byte) {
				if open++; level == 0 {
					open = 0
				}
			})
		}
		longest = max(longest, open)
	})
	return open, longest, err
}

// deltaBlocks walks DELTA_BINARY_PACKED values of at most n, of width bits; end is where what follows begins.
func deltaBlocks(b []byte, n int64, width byte) (count int64, end int, err error) {
	var head [3]uint64
	at := 0
	for i := range head {
		v, k := binary.Uvarint(b[at:])
		if k <= 0 {
			return 0, 0, fmt.Errorf("the head of its deltas: %w", io.ErrUnexpectedEOF)
		}
		head[i], at = v, at+k
	}
	_, k := binary.Varint(b[at:])
	if k <= 0 {
		return 0, 0, fmt.Errorf("the head of its deltas: %w", io.ErrUnexpectedEOF)
	}
	at += k
	switch block, parts := head[0], head[1]; {
	case block == 0 || block > 1<<16 || block%128 != 0 || parts == 0 || parts > block || block/parts%32 != 0:
		return 0, 0, fmt.Errorf("deltas in blocks of %d, of %d parts", block, parts)
	case head[2] > uint64(n):
		return 0, 0, fmt.Errorf("%d deltas, the page has %d values", head[2], n)
	}
	part, parts := int(head[0]/head[1]), int(head[1])
	for left := int(head[2]) - 1; left > 0 && at < len(b); {
		_, k := binary.Varint(b[at:])
		if k <= 0 {
			return 0, 0, fmt.Errorf("a block of deltas: %w", io.ErrUnexpectedEOF)
		}
		at += k
		widths := b[at:min(at+parts, len(b))]
		at += len(widths)
		for _, w := range widths {
			if w > width {
				return 0, 0, fmt.Errorf("deltas of %d bits, the values have %d", w, width)
			}
			at = min(at+part*int(w)/8, len(b))
			if left -= part; left <= 0 {
				break
			}
		}
	}
	return int64(head[2]), at, nil
}

var lengthBuffers = sync.Pool{New: func() any { return new([]int32) }}

// lengths calls do with the lengths at the beginning of b, of at most n values, and returns what follows them.
func lengths(b []byte, n int64, do func(l []int32) error) ([]byte, error) {
	count, end, err := deltaBlocks(b, n, 32)
	if err != nil || count == 0 {
		return b[end:], err
	}
	buf := lengthBuffers.Get().(*[]int32)
	defer lengthBuffers.Put(buf)
	l, err := parquet.DeltaBinaryPacked.DecodeInt32(slices.Grow((*buf)[:0], int(count))[:0], b[:end:end])
	if err != nil {
		return nil, err
	}
	*buf = l
	return b[end:], do(l)
}

// values walks the values of a page, of which there are n at most.
func (l *leafOf) values(coding format.Encoding, b []byte, n int64) error {
	if len(b) == 0 && (coding != format.Plain || n == 0) {
		return nil
	}
	switch coding {
	case format.Plain:
		if l.kind == format.ByteArray && n > int64(len(b))/4 {
			return fmt.Errorf("%d values in %d bytes: %w", n, len(b), io.ErrUnexpectedEOF)
		}
	case format.RLE:
		if l.kind != format.Boolean {
			return hybrid(b, 0, n, nil)
		}
		if len(b) < 4 {
			return nil
		}
		return hybrid(b[4:min(len(b), 4+int(binary.LittleEndian.Uint32(b)))], 1, n, nil)
	case format.PlainDictionary, format.RLEDictionary: //lint:ignore SA1019 older writers still name their pages so
		if b[0] > 32 {
			return fmt.Errorf("dictionary indexes of %d bits", b[0])
		}
		return hybrid(b[1:], uint(b[0]), n, nil)
	case format.DeltaBinaryPacked:
		width := byte(64)
		if l.kind == format.Int32 {
			width = 32
		}
		_, _, err := deltaBlocks(b, n, width)
		return err
	case format.DeltaLengthByteArray:
		var sum int64
		rest, err := lengths(b, n, func(l []int32) error {
			for _, v := range l {
				if v < 0 {
					return errLength
				}
				sum += int64(v)
			}
			return nil
		})
		if err == nil && sum > int64(len(rest)) {
			err = fmt.Errorf("values of %d bytes in %d: %w", sum, len(rest), io.ErrUnexpectedEOF)
		}
		return err
	case format.DeltaByteArray:
		return l.prefixed(b, n)
	}
	return nil
}

var errLength = errors.New("a value has a negative length")

// prefixed walks values of which each says how much of the one before it begins with.
func (l *leafOf) prefixed(b []byte, n int64) error {
	var prefixes []int32
	rest, err := lengths(b, n, func(l []int32) error { prefixes = slices.Clone(l); return nil })
	if err != nil {
		return err
	}
	var suffixes, total int64
	rest, err = lengths(rest, n, func(ends []int32) error {
		if len(ends) != len(prefixes) {
			return fmt.Errorf("%d beginnings and %d ends of values", len(prefixes), len(ends))
		}
		before := int64(0)
		for i, end := range ends {
			begin := int64(prefixes[i])
			if begin < 0 || end < 0 {
				return errLength
			}
			if begin > before {
				return fmt.Errorf("a value begins with %d bytes of one of %d", begin, before)
			}
			before = begin + int64(end)
			suffixes, total = suffixes+int64(end), total+before
			if l.kind == format.FixedLenByteArray && before != l.fixed {
				return fmt.Errorf("a value of %d bytes, the column has values of %d", before, l.fixed)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case suffixes > int64(len(rest)):
		return fmt.Errorf("values of %d bytes in %d: %w", suffixes, len(rest), io.ErrUnexpectedEOF)
	case total > pageBytes+pageRatio*int64(len(b)):
		return fmt.Errorf("%d bytes become %d", len(b), total)
	}
	return nil
}
