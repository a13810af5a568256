package quant

import (
	"math"
	"slices"
	"sort"
)

// Map8 is bitsandbytes' dynamic map of 8-bit codes: values whose distances grow with their size, over seven powers of ten (Dettmers et al.
// 2022, arXiv:2110.02861). It serves the states of 8-bit optimisers and the scales of double quantisation.
type Map8 [256]float32

// DynamicMap is create_dynamic_map: a signed map covers [-1, 1], an unsigned one [0, 1].
func DynamicMap(signed bool) *Map8 {
	var values []float32
	for e := range 7 {
		items := 1<<e + 1
		if !signed {
			items = 1<<(e+1) + 1
		}
		// torch.linspace(0.1, 1, items) in float32, from both ends with a fused multiply-add.
		step := (1 - float32(0.1)) / float32(items-1)
		edge := func(i int) float32 {
			if i < items/2 {
				return float32(float64(float32(0.1)) + float64(step)*float64(i))
			}
			return float32(1 - float64(step)*float64(items-1-i))
		}
		for i := range items - 1 {
			v := float32(math.Pow(10, float64(e-6))) * ((edge(i) + edge(i+1)) / 2)
			values = append(values, v)
			if signed {
				values = append(values, -v)
			}
		}
	}
	values = append(values, 0, 1)
	slices.Sort(values)
	var m Map8
	copy(m[:], values)
	return &m
}

// Code is the code of x, a value over the largest of its block. bitsandbytes looks it up on a CPU by x rounded to 65536 steps over [-1, 1].
func (m *Map8) Code(x float32) uint8 {
	x = float32(float32(math.Floor((float64(x)+1)*32767.5+0.5))/32767.5) - 1
	i := sort.Search(256, func(i int) bool { return m[i] >= x })
	if i == 0 {
		return 0
	}
	if i == 256 || x-m[i-1] <= m[i]-x {
		return uint8(i - 1)
	}
	return uint8(i)
}

// Quantize8 writes the codes of x in blocks of block values, and each block's largest magnitude to absmax.
func (m *Map8) Quantize8(codes []uint8, absmax, x []float32, block int) {
	for lo := 0; lo < len(x); lo += block {
		b := x[lo:min(lo+block, len(x))]
		top := float32(0)
		for _, v := range b {
			top = max(top, float32(math.Abs(float64(v))))
		}
		absmax[lo/block] = top
		for i, v := range b {
			codes[lo+i] = m.Code(v / max(top, math.SmallestNonzeroFloat32))
		}
	}
}
