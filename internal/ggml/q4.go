package ggml

// q4_0 is a scale in half precision and 32 codes of 4 bits, the lower halves of the bytes first: d·(q − 8).
var q4_0 = Format{Type: Q4_0, Name: "Q4_0", Block: 32, Bytes: 18,
	Read: reads(32, 18, func(x []float32, b []byte) {
		d := half(b)
		for i, c := range b[2:18] {
			x[i], x[i+16] = d*float32(int(c&15)-8), d*float32(int(c>>4)-8)
		}
	}),
	Write: writes(32, 18, func(b []byte, x []float32) {
		codes(b[2:18], nil, x, symmetric(b, x, 8), 0, 8.5, 15)
	})}

// q4_1 is a scale, the least value and 32 codes of 4 bits: d·q + m.
var q4_1 = Format{Type: Q4_1, Name: "Q4_1", Block: 32, Bytes: 20,
	Read: reads(32, 20, func(x []float32, b []byte) {
		d, m := half(b), half(b[2:])
		for i, c := range b[4:20] {
			x[i], x[i+16] = float32(d*float32(c&15))+m, float32(d*float32(c>>4))+m
		}
	}),
	Write: writes(32, 20, func(b []byte, x []float32) {
		inverse, least := ranged(b, x, 15)
		codes(b[4:20], nil, x, inverse, least, 0.5, 15)
	})}

// symmetric writes the scale by which the value of the largest magnitude is −steps, and returns its inverse, before rounding.
func symmetric(b []byte, x []float32, steps float32) (inverse float32) {
	var largest, most float32
	for _, v := range x {
		if a := abs(v); most < a {
			most, largest = a, v
		}
	}
	d := largest / -steps
	putHalf(b, d)
	return inverted(d)
}

// ranged writes the scale of steps from the least value to the largest, and the least, and returns the scale's inverse and the least,
// before rounding.
func ranged(b []byte, x []float32, steps float32) (inverse, least float32) {
	least, most := x[0], x[0]
	for _, v := range x[1:] {
		least, most = min(least, v), max(most, v)
	}
	d := (most - least) / steps
	putHalf(b, d)
	putHalf(b[2:], least)
	return inverted(d), least
}

// codes writes 32 codes, (x − least)·inverse + offset cut off: their lower four bits to low, two a byte, and the fifth to high where it is
// not nil.
func codes(low, high []byte, x []float32, inverse, least, offset float32, top int) {
	clear(high)
	for i := range low {
		var q [2]int
		for j, v := range [2]float32{x[i], x[i+16]} {
			q[j] = min(int(int8(float32((v-least)*inverse)+offset)), top)
			if high != nil {
				high[i/8+2*j] |= byte(q[j]>>4&1) << (i % 8)
			}
		}
		low[i] = byte(q[0]&15 | q[1]&15<<4)
	}
}

// inverted is 1/d, 0 of 0.
func inverted(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

func abs(v float32) float32 {
	if v < 0 {
		return -v
	}
	return v
}
