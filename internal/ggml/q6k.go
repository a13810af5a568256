package ggml

// q6K is 256 codes of 6 bits, in two halves of 128: their lower four bits, their upper two; then 16 scales of 8 bits and their scale in
// half precision: d·scale·(q − 32).
var q6K = Format{Type: Q6_K, Name: "Q6_K", Block: kBlock, Bytes: 210,
	Read: reads(kBlock, 210, func(x []float32, b []byte) {
		d, scales := half(b[208:]), b[192:208]
		for j := range 8 { // 32 codes each
			low, high := b[j/4*64+j%2*32:], b[128+j/4*32:]
			shift4, shift2 := j/2%2*4, j%4*2
			for i := range 32 {
				q := int(low[i]>>shift4&15|high[i]>>shift2&3<<4) - 32
				x[32*j+i] = d * float32(int8(scales[2*j+i/16])) * float32(q)
			}
		}
	}),
	Write: writes(kBlock, 210, func(b []byte, x []float32) {
		var q [kBlock]int
		var scales [16]float32
		for j := range 16 {
			scales[j] = sixBits(x[16*j:][:16], q[16*j:][:16])
		}
		clear(b)
		most := largest(scales[:])
		if abs(most) < tiny {
			return
		}
		inverse := -128 / most
		d := putHalf(b[208:], 1/inverse)
		for j := range 16 {
			s := min(127, nearest(inverse*scales[j]))
			b[192+j] = byte(int8(s))
			ds := d * float32(s)
			if ds == 0 {
				continue
			}
			for i := 16 * j; i < 16*j+16; i++ {
				q[i] = min(max(nearest(x[i]/ds), -32), 31) + 32
			}
		}
		for j := range 8 {
			low, high := b[j/4*64+j%2*32:], b[128+j/4*32:]
			for i := range 32 {
				c := q[32*j+i]
				low[i] |= byte(c&15) << (j / 2 % 2 * 4)
				high[i] |= byte(c>>4) << (j % 4 * 2)
			}
		}
	})}

// sixBits finds the scale of a group, by squares weighted by the values' own, among inverse scales about that by which the largest
// magnitude is −32. q are the codes, from 0.
func sixBits(x []float32, q []int) (scale float32) {
	most := largest(x)
	if abs(most) < tiny {
		clear(q)
		return 0
	}
	fit := func(inverse float32) (sumLX, sumL2 float32) {
		for _, v := range x {
			l := float32(min(max(nearest(inverse*v), -32), 31))
			w := v * v
			sumLX += float32(float32(w*v) * l)
			sumL2 += float32(float32(w*l) * l)
		}
		return sumLX, sumL2
	}
	take := func(inverse float32) {
		for i, v := range x {
			q[i] = min(max(nearest(inverse*v), -32), 31) + 32
		}
	}
	inverse := -32 / most
	take(inverse)
	sumLX, sumL2 := fit(inverse)
	if sumL2 != 0 {
		scale = sumLX / sumL2
	}
	best := scale * sumLX
	for is := -9; is <= 9; is++ {
		if is == 0 {
			continue
		}
		inverse = -(32 + float32(0.1*float32(is))) / most
		if sumLX, sumL2 = fit(inverse); sumL2 > 0 && sumLX*sumLX > best*sumL2 {
			take(inverse)
			scale = sumLX / sumL2
			best = scale * sumLX
		}
	}
	return scale
}
