package ggml

import "math"

// q8_0 is a scale in half precision and 32 signed bytes: d·q.
var q8_0 = Format{Type: Q8_0, Name: "Q8_0", Block: 32, Bytes: 34,
	Read: reads(32, 34, func(x []float32, b []byte) {
		d := half(b)
		for i, c := range b[2:34] {
			x[i] = float32(int8(c)) * d
		}
	}),
	Write: writes(32, 34, func(b []byte, x []float32) {
		var most float32
		for _, v := range x {
			most = max(most, abs(v))
		}
		d := most / 127
		putHalf(b, d)
		inverse := inverted(d)
		for i, v := range x {
			b[2+i] = byte(int8(math.Round(float64(v * inverse))))
		}
	})}
