package ggml

// q4K is two scales in half precision, eight pairs of a scale and a least value of 6 bits, and 256 codes of 4 bits, 64 at a time:
// d·scale·q − dmin·least.
var q4K = Format{Type: Q4_K, Name: "Q4_K", Block: kBlock, Bytes: 144,
	Read: reads(kBlock, 144, func(x []float32, b []byte) {
		d, dmin, p := half(b), half(b[2:]), packed6(b[4:16])
		for j := range 8 {
			s, m := p.get(j)
			ds, dm := d*float32(s), dmin*float32(m)
			shift := j % 2 * 4
			for i, c := range b[16+j/2*32:][:32] {
				x[32*j+i] = float32(ds*float32(c>>shift&15)) - dm
			}
		}
	}),
	Write: writes(kBlock, 144, func(b []byte, x []float32) {
		q := twoScales(b, x, fitting{top: 15, from: -1, step: 0.1, tries: 20})
		for j := range 4 {
			for i := range 32 {
				b[16+32*j+i] = byte(q[64*j+i] | q[64*j+32+i]<<4)
			}
		}
	})}
