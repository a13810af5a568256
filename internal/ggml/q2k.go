package ggml

// q2K is 16 pairs of a scale and a least value of 4 bits, 256 codes of 2 bits, four a byte, and two scales in half precision:
// d·scale·q − dmin·least.
var q2K = Format{Type: Q2_K, Name: "Q2_K", Block: kBlock, Bytes: 84,
	Read: reads(kBlock, 84, func(x []float32, b []byte) {
		d, dmin := half(b[80:]), half(b[82:])
		for j := range 16 {
			ds, dm := d*float32(b[j]&15), dmin*float32(b[j]>>4)
			shift := j / 2 % 4 * 2
			for i, c := range b[16+j/8*32+j%2*16:][:16] {
				x[16*j+i] = float32(ds*float32(c>>shift&3)) - dm
			}
		}
	}),
	Write: writes(kBlock, 84, func(b []byte, x []float32) {
		f := fitting{top: 3, from: -0.5, step: 0.1, tries: 15, absolute: true}
		var q [kBlock]int
		var scales, belows, w [16]float32
		var room [16]int
		for j := range 16 {
			g := x[16*j:][:16]
			for i, v := range g {
				w[i] = abs(v)
			}
			scales[j], belows[j] = f.fit(g, w[:], q[16*j:][:16], room[:])
		}
		clear(b)
		d, dmin := fourBits(b[:16], b[80:], scales[:], 0), fourBits(b[:16], b[82:], belows[:], 4)
		for j := range 16 {
			ds, dm := d*float32(b[j]&15), dmin*float32(b[j]>>4)
			if ds == 0 {
				continue
			}
			for i := 16 * j; i < 16*j+16; i++ {
				q[i] = min(max(nearest((x[i]+dm)/ds), 0), 3)
			}
		}
		for i, c := range q {
			b[16+i/128*32+i%32] |= byte(c) << (i / 32 % 4 * 2)
		}
	})}

// fourBits adds 16 values that are not negative to the bytes to, 4 bits each from bit shift on, and writes their scale.
func fourBits(to, scale []byte, values []float32, shift int) float32 {
	var most float32
	for _, v := range values {
		most = max(most, v)
	}
	if most <= 0 {
		return 0
	}
	inverse := 15 / most
	for j, v := range values {
		to[j] |= byte(nearest(inverse*v)) << shift
	}
	return putHalf(scale, most/15)
}
