package gguf

import (
	"encoding/binary"
	"math"
)

// kind is a row of the table of types of metadata: its number in the file is its place in the table.
type kind struct {
	name string
	size int // bytes in the file, 0 of what says its own length
	// read gives a value of size bytes; array one of n.
	read  func(b []byte) any
	array func(b []byte, n int) any
	// append writes a value, or every value of a slice.
	append func(to []byte, v any) []byte
	// length says whether v is of this kind: n is −1 of a value, and its length of a slice.
	length func(v any) (n int, is bool)
}

// arrayKind is the number of arrays in the table, which have a number of their elements' kind, their count, and the elements.
const arrayKind, stringKind = 9, 8

var little = binary.LittleEndian

// kinds is the table of types of metadata.
var kinds = []kind{
	number("uint8", 1, func(b []byte) uint8 { return b[0] }, func(b []byte, v uint8) []byte { return append(b, v) }),
	number("int8", 1, func(b []byte) int8 { return int8(b[0]) }, func(b []byte, v int8) []byte { return append(b, byte(v)) }),
	number("uint16", 2, little.Uint16, little.AppendUint16),
	number("int16", 2, func(b []byte) int16 { return int16(little.Uint16(b)) },
		func(b []byte, v int16) []byte { return little.AppendUint16(b, uint16(v)) }),
	number("uint32", 4, little.Uint32, little.AppendUint32),
	number("int32", 4, func(b []byte) int32 { return int32(little.Uint32(b)) },
		func(b []byte, v int32) []byte { return little.AppendUint32(b, uint32(v)) }),
	number("float32", 4, func(b []byte) float32 { return math.Float32frombits(little.Uint32(b)) },
		func(b []byte, v float32) []byte { return little.AppendUint32(b, math.Float32bits(v)) }),
	number("bool", 1, func(b []byte) bool { return b[0] != 0 }, func(b []byte, v bool) []byte {
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	}),
	number("string", 0, func(b []byte) string { return string(b) },
		func(b []byte, v string) []byte { return append(little.AppendUint64(b, uint64(len(v))), v...) }),
	{name: "array", length: func(any) (int, bool) { return 0, false }},
	number("uint64", 8, little.Uint64, little.AppendUint64),
	number("int64", 8, func(b []byte) int64 { return int64(little.Uint64(b)) },
		func(b []byte, v int64) []byte { return little.AppendUint64(b, uint64(v)) }),
	number("float64", 8, func(b []byte) float64 { return math.Float64frombits(little.Uint64(b)) },
		func(b []byte, v float64) []byte { return little.AppendUint64(b, math.Float64bits(v)) }),
}

// number is the row of a Go type.
func number[T any](name string, size int, read func([]byte) T, write func([]byte, T) []byte) kind {
	return kind{
		name: name, size: size,
		read: func(b []byte) any { return read(b) },
		array: func(b []byte, n int) any {
			out := make([]T, n)
			for i := range out {
				out[i] = read(b[i*size:])
			}
			return out
		},
		append: func(to []byte, v any) []byte {
			if one, ok := v.(T); ok {
				return write(to, one)
			}
			for _, e := range v.([]T) {
				to = write(to, e)
			}
			return to
		},
		length: func(v any) (int, bool) {
			switch a := v.(type) {
			case T:
				return -1, true
			case []T:
				return len(a), true
			}
			return 0, false
		},
	}
}
