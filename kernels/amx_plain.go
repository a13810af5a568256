package kernels

import (
	"math"
	"unsafe"
)

// stripPlain is a strip in plain Go, as Intel's manual has TDPBF16PS and TDPBSSD.
func stripPlain(s *strip) {
	s.check()
	last, cols, words := s.shape()
	for t, off := range s.off[:s.groups*s.colTiles] {
		for r := range s.rowTiles {
			rows := tileRows16
			if r == s.rowTiles-1 {
				rows = last
			}
			for i := range rows {
				c := s.c[(r*tileRows16+i)*s.ldc+t*tileRows16:][:cols]
				if s.add == 0 {
					clear(c)
				}
				for q := range s.steps {
					a := s.a[q*blockHalves+r*tileHalves+i*stepHalves:][:2*words]
					if b := s.b[off+q*stepPanel:]; s.codes {
						dotCodes(c, a, b)
					} else {
						dotPairs(c, a, b)
					}
				}
			}
		}
	}
}

// dotPairs adds to c what a row of a tile of A and a tile of B give: pairs of bfloat16 values.
func dotPairs(c []float32, a, b []uint16) {
	var even, odd [tileRows16]float32
	for k := 0; k < len(a); k += 2 {
		x, y := float64(daz(widen(a[k]))), float64(daz(widen(a[k+1])))
		row := b[k*panelCols:][:2*len(c)]
		for n := range c {
			even[n] = flush(float64(even[n]) + x*float64(daz(widen(row[2*n]))))
			odd[n] = flush(float64(odd[n]) + y*float64(daz(widen(row[2*n+1]))))
		}
	}
	for n, v := range c {
		c[n] = flush(float64(daz(v)) + float64(flush(float64(even[n])+float64(odd[n]))))
	}
}

// daz is x, or zero where it is subnormal.
func daz(x float32) float32 {
	if b := math.Float32bits(x); b&0x7f800000 == 0 {
		return math.Float32frombits(b & (1 << 31))
	}
	return x
}

// flush is x rounded to float32, or zero where what is rounded to as many bits is less than the least normal value. x is a sum of two
// float32 values, or of one and a product of two bfloat16 values, that float64 rounds: rounding it twice gives what rounding once does, for
// 53 bits are more than twice 24 and two.
func flush(x float64) float32 {
	y := float32(x)
	if math.Float32bits(y)&magnitude > 0x00800000 {
		return y
	}
	if z := float32(x * (1 << 100)); math.Abs(float64(z)) < 0x1p-26 {
		return float32(math.Copysign(0, x))
	}
	return y
}

// dotCodes adds to c, of int32 values, what a row of a tile of A and a tile of B give: quads of 8-bit codes.
func dotCodes(c []float32, a, b []uint16) {
	for n := range c {
		sum := int32(math.Float32bits(c[n]))
		for k := 0; k < len(a); k += 2 {
			q := b[k*panelCols+2*n:][:2]
			for i := range 2 {
				sum += int32(int8(a[k+i]))*int32(int8(q[i])) + int32(int8(a[k+i]>>8))*int32(int8(q[i]>>8))
			}
		}
		c[n] = math.Float32frombits(uint32(sum))
	}
}

func roundTilesPlain(dst []uint16, src []float32) {
	for ; len(src) > 0; dst = dst[min(blockHalves, len(dst)):] {
		n := min(stepHalves, len(src))
		narrowHalfPlain(dst[:stepHalves], src[:n])
		src = src[n:]
	}
}

func roundCodesPlain(dst []uint16, src []float32) {
	for ; len(src) > 0; dst = dst[min(blockHalves, len(dst)):] {
		n := min(2*stepHalves, len(src))
		clear(dst[:stepHalves])
		for i, v := range src[:n] {
			dst[i/2] |= uint16(uint8(int8(v))) << (i % 2 * 8)
		}
		src = src[n:]
	}
}

func quadsPlain(dst []uint16, codes []int8) {
	for n := range panelCols {
		for r := range 2 {
			p := codes[(r*panelCols+n)*2:][:2]
			dst[2*n+r] = uint16(uint8(p[0])) | uint16(uint8(p[1]))<<8
		}
	}
}

func floatPlain(c []float32) {
	for i, v := range unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(c))), len(c)) {
		c[i] = float32(v)
	}
}
