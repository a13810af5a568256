package ggml

import "encoding/binary"

// q5_0 is a scale in half precision, the fifth bits of 32 codes, and their lower four as in Q4_0: d·(q − 16).
var q5_0 = Format{Type: Q5_0, Name: "Q5_0", Block: 32, Bytes: 22,
	Read: reads(32, 22, func(x []float32, b []byte) {
		d, high := half(b), binary.LittleEndian.Uint32(b[2:])
		for i, c := range b[6:22] {
			x[i] = d * float32(int(c&15)|int(high>>i&1)<<4-16)
			x[i+16] = d * float32(int(c>>4)|int(high>>(i+16)&1)<<4-16)
		}
	}),
	Write: writes(32, 22, func(b []byte, x []float32) {
		codes(b[6:22], b[2:6], x, symmetric(b, x, 16), 0, 16.5, 31)
	})}

// q5_1 is a scale, the least value, the fifth bits of 32 codes, and their lower four: d·q + m.
var q5_1 = Format{Type: Q5_1, Name: "Q5_1", Block: 32, Bytes: 24,
	Read: reads(32, 24, func(x []float32, b []byte) {
		d, m, high := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:])
		for i, c := range b[8:24] {
			x[i] = float32(d*float32(int(c&15)|int(high>>i&1)<<4)) + m
			x[i+16] = float32(d*float32(int(c>>4)|int(high>>(i+16)&1)<<4)) + m
		}
	}),
	Write: writes(32, 24, func(b []byte, x []float32) {
		inverse, least := ranged(b, x, 31)
		codes(b[8:24], b[4:8], x, inverse, least, 0.5, 31)
	})}
