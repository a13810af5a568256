package ggml

import (
	"encoding/binary"
	"math"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// f32 is float32, little-endian.
var f32 = Format{Type: F32, Name: "F32", Block: 1, Bytes: 4,
	Read: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	},
	Write: func(dst []byte, src []float32) {
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	}}

// f16 is IEEE half precision.
var f16 = Format{Type: F16, Name: "F16", Block: 1, Bytes: 2,
	Read: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = half(src[2*i:])
		}
	},
	Write: func(dst []byte, src []float32) {
		for i, v := range src {
			putHalf(dst[2*i:], v)
		}
	}}

// bf16 is the upper half of float32.
var bf16 = Format{Type: BF16, Name: "BF16", Block: 1, Bytes: 2,
	Read: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	},
	Write: func(dst []byte, src []float32) {
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], safetensors.ToBF16(v))
		}
	}}

// f64 is float64, rounded to float32 when it is read.
var f64 = Format{Type: F64, Name: "F64", Block: 1, Bytes: 8,
	Read: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	}}

// half reads the half-precision number at the beginning of b.
func half(b []byte) float32 { return safetensors.FromF16(binary.LittleEndian.Uint16(b)) }

// putHalf writes v in half precision at the beginning of b and returns what it is then.
func putHalf(b []byte, v float32) float32 {
	h := safetensors.ToF16(v)
	binary.LittleEndian.PutUint16(b, h)
	return safetensors.FromF16(h)
}
