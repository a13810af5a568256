package kernels

// Exp is e^x in float32, within 2 units in the last place.
func Exp(x float32) float32 { return exp32(x) }

// ExpRow is one tile's part of an online softmax (Milakov and Gimelshein 2018): m is the larger of the row's maximum and
// old, the maximum of the tiles before; row becomes exp(row - m), and sum is its sum. What the tiles before summed
// must be scaled by exp(old - m).
func ExpRow(row []float32, old float32) (m, sum float32) {
	v := vec()
	m = max(v.max(row), old)
	return m, v.exp(row, 1, m)
}

// ExpShift computes row = exp(row - sub).
func ExpShift(row []float32, sub float32) { vec().exp(row, 1, sub) }
