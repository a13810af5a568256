//go:build amd64 && !noasm

package kernels

import (
	"golang.org/x/sys/cpu"

	"github.com/adaptflow/adaptflow/internal/ggml"
)

// blockKernels are the kernels of a format.
type blockKernels struct {
	wide512, wide256 func(n int, src *uint8, dst *float32)
	half             func(n int, src *uint8, dst *uint16)
}

// blocksOf is the table of formats that have kernels: the others are read by package ggml.
var blocksOf = map[ggml.Type]blockKernels{
	ggml.Q4_0: {expandQ4x0WideV512, expandQ4x0WideV256, expandQ4x0Half},
	ggml.Q4_1: {expandQ4x1WideV512, expandQ4x1WideV256, expandQ4x1Half},
	ggml.Q5_0: {expandQ5x0WideV512, expandQ5x0WideV256, expandQ5x0Half},
	ggml.Q5_1: {expandQ5x1WideV512, expandQ5x1WideV256, expandQ5x1Half},
	ggml.Q8_0: {expandQ8x0WideV512, expandQ8x0WideV256, expandQ8x0Half},
	ggml.Q4_K: {expandQ4KWideV512, expandQ4KWideV256, expandQ4KHalf},
	ggml.Q5_K: {expandQ5KWideV512, expandQ5KWideV256, expandQ5KHalf},
	ggml.Q6_K: {expandQ6KWideV512, expandQ6KWideV256, expandQ6KHalf},
}

// hasF16C says whether the processor converts half precision, as all do that have AVX2.
var hasF16C = func() bool {
	_, _, c, _ := amxCPUID(1, 0)
	return cpu.X86.HasAVX2 && c>>29&1 == 1
}()

// expandWide writes the values of whole blocks and says whether it did: where the set has a kernel for them.
func expandWide(f *ggml.Format, dst []float32, src []byte) bool {
	k, ok := blocksOf[f.Type]
	switch s := Active(); {
	case !ok || s == Plain:
		return false
	case s >= AVX512:
		k.wide512(len(dst)/f.Block, &src[0], &dst[0])
	case hasF16C:
		k.wide256(len(dst)/f.Block, &src[0], &dst[0])
	default:
		return false
	}
	return true
}

// expandHalf is expandWide with values rounded to bfloat16.
func expandHalf(f *ggml.Format, dst []uint16, src []byte) bool {
	k, ok := blocksOf[f.Type]
	if !ok || halfTileOf(Active()) == nil {
		return false
	}
	k.half(len(dst)/f.Block, &src[0], &dst[0])
	return true
}
