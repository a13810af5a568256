package ggml

// q5K is Q4_K with a fifth bit of each code before the lower four: bit j of byte i is that of code 32·j + i.
var q5K = Format{Type: Q5_K, Name: "Q5_K", Block: kBlock, Bytes: 176,
	Read: reads(kBlock, 176, func(x []float32, b []byte) {
		d, dmin, p := half(b), half(b[2:]), packed6(b[4:16])
		for j := range 8 {
			s, m := p.get(j)
			ds, dm := d*float32(s), dmin*float32(m)
			shift := j % 2 * 4
			for i, c := range b[48+j/2*32:][:32] {
				x[32*j+i] = float32(ds*float32(c>>shift&15|b[16+i]>>j&1<<4)) - dm
			}
		}
	}),
	Write: writes(kBlock, 176, func(b []byte, x []float32) {
		q := twoScales(b, x, fitting{top: 31, from: -0.5, step: 0.1, tries: 15})
		clear(b[16:48])
		for j := range 8 {
			for i := range 32 {
				b[16+i] |= byte(q[32*j+i]>>4) << j
			}
		}
		for j := range 4 {
			for i := range 32 {
				b[48+32*j+i] = byte(q[64*j+i]&15 | q[64*j+32+i]&15<<4)
			}
		}
	})}
