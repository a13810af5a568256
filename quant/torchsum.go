package quant

import "math/bits"

// torchSum is torch.sum of a contiguous float32 vector on one thread of a CPU, in torch's order: eight lanes, four of them at a time into
// partial sums of growing length, then what is left. Double quantisation takes the mean of the scales by it, and a mean in another order
// moves every scale by a rounding.
func torchSum(x []float32) float32 {
	const lanes = 8
	n := len(x) / lanes
	var acc [4][lanes]float32 // partial sums of the rows 4i, 4i+1, 4i+2, 4i+3
	ilp := n / 4
	if ilp > 0 {
		acc = laneSums(x, ilp)
	}
	for i := ilp * 4; i < n; i++ {
		for l := range lanes {
			acc[0][l] += x[i*lanes+l]
		}
	}
	for k := 1; k < 4; k++ {
		for l := range lanes {
			acc[0][l] += acc[k][l]
		}
	}
	sum := float32(0)
	for _, v := range x[n*lanes:] {
		sum += v
	}
	if n > 0 {
		for _, v := range acc[0] {
			sum += v
		}
	}
	return sum
}

// laneSums adds size rows of 32 values, in a cascade of four levels.
func laneSums(x []float32, size int) [4][8]float32 {
	var level [4][4][8]float32
	add := func(to, from *[4][8]float32) {
		for k := range to {
			for l := range to[k] {
				to[k][l] += from[k][l]
			}
		}
	}
	power := max(4, bits.Len(uint(size-1))/4)
	step := 1 << power
	row := func(i int) {
		for k := range 4 {
			for l := range 8 {
				level[0][k][l] += x[(i*4+k)*8+l]
			}
		}
	}
	i := 0
	for i+step <= size {
		for range step {
			row(i)
			i++
		}
		for j := 1; j < 4; j++ {
			add(&level[j], &level[j-1])
			level[j-1] = [4][8]float32{}
			if i&((step-1)<<(j*power)) != 0 {
				break
			}
		}
	}
	for ; i < size; i++ {
		row(i)
	}
	for j := 1; j < 4; j++ {
		add(&level[0], &level[j])
	}
	return level[0]
}
