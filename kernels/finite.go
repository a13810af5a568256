package kernels

import "math"

// NonFinite is the index of the first value of x that is NaN or infinite, -1 for none.
func NonFinite(x []float32) int {
	if s := SumSquares(x); !math.IsNaN(s) && !math.IsInf(s, 0) { // fast, and no square of a float32 overflows a float64
		return -1
	}
	for i, v := range x {
		if !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
			return i
		}
	}
	return -1
}

// Argmax is the index of the first of the largest values of x, which has at least one; of values of which some are NaN, any index.
func Argmax(x []float32) int {
	most := vec().max(x)
	for i, v := range x {
		if v == most {
			return i
		}
	}
	return 0
}
