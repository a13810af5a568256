package ggml

// q3K is the third bits of 256 codes, bit j of byte i of code 32·j + i; their lower two bits, four a byte; 16 scales of 6 bits; and their
// scale in half precision: d·(scale − 32)·(q − 4).
var q3K = Format{Type: Q3_K, Name: "Q3_K", Block: kBlock, Bytes: 110,
	Read: reads(kBlock, 110, func(x []float32, b []byte) {
		d := half(b[108:])
		for j := range 8 {
			for i := range 32 {
				q := int(b[32+j/4*32+i]>>(j%4*2)&3|b[i]>>j&1<<2) - 4
				x[32*j+i] = d * float32(scale3(b[96:108], 2*j+i/16)) * float32(q)
			}
		}
	}),
	Write: writes(kBlock, 110, func(b []byte, x []float32) {
		var q [kBlock]int
		var scales [16]float32
		for j := range 16 {
			scales[j] = threeBits(x[16*j:][:16], q[16*j:][:16])
		}
		clear(b)
		most := largest(scales[:])
		var d float32
		if most != 0 {
			inverse := -32 / most
			for j, s := range scales {
				l := min(max(nearest(inverse*s), -32), 31) + 32
				b[96+j%8] |= byte(l&15) << (j / 8 * 4)
				b[104+j%4] |= byte(l>>4) << (j / 4 * 2)
			}
			d = putHalf(b[108:], 1/inverse)
		}
		for j := range 16 {
			ds := d * float32(scale3(b[96:108], j))
			if ds == 0 {
				continue
			}
			for i := 16 * j; i < 16*j+16; i++ {
				q[i] = min(max(nearest(x[i]/ds), -4), 3) + 4
			}
		}
		for i, c := range q {
			b[i%32] |= byte(c>>2) << (i / 32)
			b[32+i/128*32+i%32] |= byte(c&3) << (i / 32 % 4 * 2)
		}
	})}

// scale3 is scale j of the 12 bytes of Q3_K: the lower four bits in the first eight bytes, the upper two in the others.
func scale3(p []byte, j int) int {
	return int(p[j%8]>>(j/8*4)&15|p[8+j%4]>>(j/4*2)&3<<4) - 32
}

// threeBits finds the scale of a group, by squares weighted by the values' own: from the codes of the scale by which the largest magnitude
// is −4 it changes one code after another where that lessens the error. q are the codes, from 0.
func threeBits(x []float32, q []int) float32 {
	most := largest(x)
	if abs(most) < tiny {
		clear(q)
		return 0
	}
	code := func(v float32) int { return min(max(nearest(v), -4), 3) }
	inverse := -4 / most
	var sumLX, sumL2 float32
	for i, v := range x {
		q[i] = code(inverse * v)
		l, w := float32(q[i]), v*v
		sumLX += float32(float32(w*v) * l)
		sumL2 += float32(float32(w*l) * l)
	}
	for range 5 {
		changed := false
		for i, v := range x {
			l, w := float32(q[i]), v*v
			lx := sumLX - float32(float32(w*v)*l)
			if lx <= 0 {
				continue
			}
			l2 := sumL2 - float32(float32(w*l)*l)
			n := code(float32(v*l2) / lx)
			if n == q[i] {
				continue
			}
			l = float32(n)
			lx += float32(float32(w*v) * l)
			l2 += float32(float32(w*l) * l)
			if l2 > 0 && float32(float32(lx*lx)*sumL2) > float32(float32(sumLX*sumLX)*l2) {
				q[i], sumLX, sumL2, changed = n, lx, l2, true
			}
		}
		if !changed {
			break
		}
	}
	for i := range q {
		q[i] += 4
	}
	if sumL2 > 0 {
		return sumLX / sumL2
	}
	return 0
}
