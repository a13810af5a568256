//go:build !amd64 || noasm

package kernels

func codes8Half(dst []uint16, codes []int8, scale []float32) { codes8HalfPlain(dst, codes, scale) }

func codes8Wide(even, odd []float32, codes []int8, scale []float32) {
	codes8WidePlain(even, odd, codes, scale)
}

func int8Absmax(x []float32, limit uint32) (below, all uint32) { return int8AbsmaxPlain(x, limit) }

func int8Quantize(dst, x []float32, scale float32, limit uint32) {
	int8QuantizePlain(dst, x, scale, limit)
}
