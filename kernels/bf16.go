package kernels

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// roundBF16 is x rounded to the nearest bfloat16, ties to even, in the upper half of the result; a NaN stays a quiet NaN.
func roundBF16(x float32) uint32 {
	u := math.Float32bits(x)
	if u&0x7fffffff > 0x7f800000 {
		return (u | 0x400000) &^ 0xffff
	}
	return (u + 0x7fff + u>>16&1) &^ 0xffff
}

// widen is the value of a bfloat16.
func widen(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// RoundBF16 rounds x to bfloat16 values in place.
func RoundBF16(p *pool.Pool, x []float32) {
	blocks(p, len(x), elemBlock, func(lo, hi int) { roundBF16Row(x[lo:hi]) })
}

// PackBF16 rounds x to bfloat16 values in place and writes their upper halves to dst.
func PackBF16(p *pool.Pool, dst []uint16, x []float32) {
	halves("PackBF16", dst, x)
	blocks(p, len(x), elemBlock, func(lo, hi int) { packBF16Row(dst[lo:hi], x[lo:hi]) })
}

// UnpackBF16 writes the values of src to x.
func UnpackBF16(p *pool.Pool, x []float32, src []uint16) {
	halves("UnpackBF16", src, x)
	blocks(p, len(x), elemBlock, func(lo, hi int) { BF16ToF32(x[lo:hi], src[lo:hi]) })
}

func halves(name string, h []uint16, x []float32) {
	if len(h) != len(x) {
		panic(fmt.Sprintf("kernels: %s: %d halves for %d values", name, len(h), len(x)))
	}
}

func roundBF16Plain(x []float32) {
	for i, v := range x {
		x[i] = math.Float32frombits(roundBF16(v))
	}
}

func packBF16Plain(dst []uint16, x []float32) {
	for i, v := range x {
		u := roundBF16(v)
		x[i], dst[i] = math.Float32frombits(u), uint16(u>>16)
	}
}

func unpackBF16Plain(x []float32, src []uint16) {
	for i, h := range src {
		x[i] = widen(h)
	}
}
