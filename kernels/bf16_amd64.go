//go:build amd64 && !noasm

package kernels

// bulk calls f for the blocks of n values, where the set has vectors, and returns the number of values done.
func bulk(n int, wide, narrow func(blocks int)) int {
	switch s := Active(); {
	case s >= AVX512 && n >= 16:
		wide(n / 16)
		return n &^ 15
	case s == AVX2 && n >= 8:
		narrow(n / 8)
		return n &^ 7
	}
	return 0
}

func roundBF16Row(x []float32) {
	n := bulk(len(x), func(b int) { roundBF16v512(b, &x[0]) }, func(b int) { roundBF16v256(b, &x[0]) })
	roundBF16Plain(x[n:])
}

func packBF16Row(dst []uint16, x []float32) {
	n := bulk(len(x), func(b int) { packBF16v512(b, &x[0], &dst[0]) }, func(b int) { packBF16v256(b, &x[0], &dst[0]) })
	packBF16Plain(dst[n:], x[n:])
}

func unpackBF16Row(x []float32, src []uint16) {
	n := bulk(len(x), func(b int) { unpackBF16v512(b, &x[0], &src[0]) }, func(b int) { unpackBF16v256(b, &x[0], &src[0]) })
	unpackBF16Plain(x[n:], src[n:])
}

// halfTileOf is the set's tile of pairs; nil where it has none.
func halfTileOf(s Set) halfTile {
	if s == AVX512BF16 {
		return tileHalf
	}
	return nil
}

type asmHalfTile func(k int, a *uint16, ars int, b *uint16, c *float32, ldc int, add int)

var tilesHalf = [3][8]asmHalfTile{
	{gemmHalf1x16, gemmHalf2x16, gemmHalf3x16, gemmHalf4x16, gemmHalf5x16, gemmHalf6x16, gemmHalf7x16, gemmHalf8x16},
	{gemmHalf1x32, gemmHalf2x32, gemmHalf3x32, gemmHalf4x32, gemmHalf5x32, gemmHalf6x32, gemmHalf7x32, gemmHalf8x32},
	{gemmHalf1x48, gemmHalf2x48, gemmHalf3x48, gemmHalf4x48, gemmHalf5x48, gemmHalf6x48, gemmHalf7x48, gemmHalf8x48},
}

func tileHalf(rows, w, k int, a []uint16, ars int, b []uint16, add bool, c []float32, ldc int) {
	_ = a[(rows-1)*ars+2*k-1]
	_ = b[(k-1)*2*panelCols+2*w-1]
	_ = c[(rows-1)*ldc+w-1]
	tilesHalf[w/16-1][rows-1](k, &a[0], ars, &b[0], &c[0], ldc, flag(add))
}

// narrowHalf is narrowHalfPlain for the set AVX512BF16.
func narrowHalf(dst []uint16, src []float32) {
	n := len(src) &^ 31
	if n > 0 {
		narrowHalf32(n/32, &dst[0], &src[0])
	}
	narrowHalfPlain(dst[n:], src[n:])
}

// transposePairs is transposePairsPlain for the set AVX512BF16.
func transposePairs(dst, src []uint16, rows int) {
	r := 0
	for ; r+4 <= rows; r += 4 {
		_ = src[(r+4)*2*panelCols-1]
		_ = dst[(panelCols/2-1)*2*panelCols+(2*r+8)*2-1]
		transposePairs4(&src[r*2*panelCols], &dst[4*r])
	}
	if r < rows {
		transposePairsPlain(dst[4*r:], src[r*2*panelCols:], rows-r)
	}
}

func expandPairs(dst []float32, src []uint16, rows int) {
	if Active() == Plain {
		expandPairsPlain(dst, src, rows)
		return
	}
	if rows > 0 {
		_, _ = dst[rows*2*panelCols-1], src[rows*2*panelCols-1]
	}
	for r := range rows {
		expandPairs8(panelCols/8, &src[r*2*panelCols], &dst[2*r*panelCols], &dst[(2*r+1)*panelCols])
	}
}

func codes4Half(dst []uint16, codes []uint8, lut *[16]float32, scale []float32) {
	switch s := Active(); {
	case s >= AVX512:
		codes4HalfV512(panelCols/16, &codes[0], &lut[0], &scale[0], &dst[0])
	case s == AVX2:
		codes4HalfV256(panelCols/8, &codes[0], &lut[0], &scale[0], &dst[0])
	default:
		codes4HalfPlain(dst, codes, lut, scale)
	}
}

func codes4Wide(even, odd []float32, codes []uint8, lut *[16]float32, scale []float32) {
	switch s := Active(); {
	case s >= AVX512:
		codes4WideV512(panelCols/16, &codes[0], &lut[0], &scale[0], &even[0], &odd[0])
	case s == AVX2:
		codes4WideV256(panelCols/8, &codes[0], &lut[0], &scale[0], &even[0], &odd[0])
	default:
		codes4WidePlain(even, odd, codes, lut, scale)
	}
}
