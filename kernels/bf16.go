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

// RoundBF16 rounds x to bfloat16 values in place.
func RoundBF16(p *pool.Pool, x []float32) {
	blocks(p, len(x), elemBlock, func(lo, hi int) {
		for i, v := range x[lo:hi] {
			x[lo+i] = math.Float32frombits(roundBF16(v))
		}
	})
}

// PackBF16 rounds x to bfloat16 values in place and writes their upper halves to dst.
func PackBF16(p *pool.Pool, dst []uint16, x []float32) {
	halves("PackBF16", dst, x)
	blocks(p, len(x), elemBlock, func(lo, hi int) {
		for i, v := range x[lo:hi] {
			u := roundBF16(v)
			x[lo+i], dst[lo+i] = math.Float32frombits(u), uint16(u>>16)
		}
	})
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
