//go:build !noasm

package kernels

func codes8Half(dst []uint16, codes []int8, scale []float32) {
	switch s := Active(); {
	case s >= AVX512:
		codes8HalfV512(panelCols/16, &codes[0], &scale[0], &dst[0])
	case s == AVX2:
		codes8HalfV256(panelCols/8, &codes[0], &scale[0], &dst[0])
	default:
		codes8HalfPlain(dst, codes, scale)
	}
}

func codes8Wide(even, odd []float32, codes []int8, scale []float32) {
	switch s := Active(); {
	case s >= AVX512:
		codes8WideV512(panelCols/16, &codes[0], &scale[0], &even[0], &odd[0])
	case s == AVX2:
		codes8WideV256(panelCols/8, &codes[0], &scale[0], &even[0], &odd[0])
	default:
		codes8WidePlain(even, odd, codes, scale)
	}
}

func int8Absmax(x []float32, limit uint32) (below, all uint32) {
	var b, a [16]uint32
	n := 0
	switch s := Active(); {
	case s >= AVX512 && len(x) >= 16:
		n = len(x) &^ 15
		int8AbsmaxV512(n/16, &x[0], limit, &b[0], &a[0])
	case s == AVX2 && len(x) >= 8:
		n = len(x) &^ 7
		int8AbsmaxV256(n/8, &x[0], limit, &b[0], &a[0])
	}
	below, all = int8AbsmaxPlain(x[n:], limit)
	for i := range b {
		below, all = max(below, b[i]), max(all, a[i])
	}
	return below, all
}

func int8Quantize(dst, x []float32, scale float32, limit uint32) {
	n := 0
	switch s := Active(); {
	case s >= AVX512 && len(x) >= 16:
		n = len(x) &^ 15
		int8QuantizeV512(n/16, &dst[0], &x[0], scale, limit)
	case s == AVX2 && len(x) >= 8:
		n = len(x) &^ 7
		int8QuantizeV256(n/8, &dst[0], &x[0], scale, limit)
	}
	int8QuantizePlain(dst[n:], x[n:], scale, limit)
}
