package kernels

import "math"

// Kernels of LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339). Codes are small integers, which float32 and bfloat16 hold exactly, so that
// their products are those of the other matrices, and exact: a chunk of 640 products of two codes sums to less than 2²⁴.

// Codes8Half expands rows rows of 48 pairs of 8-bit codes into rows of 48 pairs of bfloat16 panels. A value is code·scale of its column,
// rounded to bfloat16; scale [48] holds for all the rows.
func Codes8Half(dst []uint16, codes []int8, scale []float32, rows int) {
	_, _, _ = dst[:rows*2*panelCols], codes[:rows*2*panelCols], scale[panelCols-1]
	for r := range rows {
		codes8Half(dst[r*2*panelCols:], codes[r*2*panelCols:], scale)
	}
}

// Codes8Wide expands rows rows of 48 pairs of codes into 2·rows rows of 48 float32 values: the first of each pair, then the second.
func Codes8Wide(dst []float32, codes []int8, scale []float32, rows int) {
	_, _, _ = dst[:2*rows*panelCols], codes[:rows*2*panelCols], scale[panelCols-1]
	for r := range rows {
		codes8Wide(dst[2*r*panelCols:], dst[(2*r+1)*panelCols:], codes[r*2*panelCols:], scale)
	}
}

// Int8Absmax rounds the values of x to IEEE halves and returns the largest magnitude of those below limit, and of all: infinity or NaN
// where a value is that.
func Int8Absmax(x []float32, limit float32) (below, all float32) {
	b, a := int8Absmax(x, math.Float32bits(limit))
	return math.Float32frombits(b), math.Float32frombits(a)
}

// Int8Quantize rounds the values of x to IEEE halves and writes their products with scale, rounded to integers, halves to even; zero for
// those that are not below limit.
func Int8Quantize(dst, x []float32, scale, limit float32) {
	int8Quantize(dst[:len(x)], x, scale, math.Float32bits(limit))
}

func codes8HalfPlain(dst []uint16, codes []int8, scale []float32) {
	for n := range panelCols {
		dst[2*n] = uint16(roundBF16(float32(codes[2*n])*scale[n]) >> 16)
		dst[2*n+1] = uint16(roundBF16(float32(codes[2*n+1])*scale[n]) >> 16)
	}
}

func codes8WidePlain(even, odd []float32, codes []int8, scale []float32) {
	for n := range panelCols {
		even[n], odd[n] = float32(codes[2*n])*scale[n], float32(codes[2*n+1])*scale[n]
	}
}

const magnitude = 0x7fffffff

func int8AbsmaxPlain(x []float32, limit uint32) (below, all uint32) {
	for _, v := range x {
		h := math.Float32bits(RoundF16(v)) & magnitude
		all = max(all, h)
		if h < limit {
			below = max(below, h)
		}
	}
	return below, all
}

func int8QuantizePlain(dst, x []float32, scale float32, limit uint32) {
	for i, v := range x {
		h := RoundF16(v)
		if math.Float32bits(h)&magnitude >= limit {
			dst[i] = 0
			continue
		}
		dst[i] = float32(math.RoundToEven(float64(h * scale)))
	}
}

// RoundF16 is x rounded to the nearest IEEE half, ties to even: infinite where it is too large.
func RoundF16(x float32) float32 {
	b := math.Float32bits(x)
	sign, m := b&^magnitude, b&magnitude
	switch {
	case m >= 0x477ff000: // 65520 and more, infinity, NaN
		if m > 0x7f800000 {
			return x
		}
		return math.Float32frombits(sign | 0x7f800000)
	case m < 0x38800000: // subnormal halves are multiples of 2⁻²⁴
		f := math.Float32frombits(m) + 0.5
		return math.Float32frombits(sign | math.Float32bits(f-0.5))
	}
	return math.Float32frombits(sign | (m+0xfff+m>>13&1)&^0x1fff)
}
