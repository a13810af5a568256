//go:build !amd64 || noasm

package kernels

func roundBF16Row(x []float32)                   { roundBF16Plain(x) }
func packBF16Row(dst []uint16, x []float32)      { packBF16Plain(dst, x) }
func unpackBF16Row(x []float32, src []uint16)    { unpackBF16Plain(x, src) }
func halfTileOf(Set) halfTile                    { return nil }
func narrowHalf(dst []uint16, src []float32)     { narrowHalfPlain(dst, src) }
func transposePairs(dst, src []uint16, rows int) { transposePairsPlain(dst, src, rows) }

func expandPairs(dst []float32, src []uint16, rows int) { expandPairsPlain(dst, src, rows) }

func codes4Half(dst []uint16, codes []uint8, lut *[16]float32, scale []float32) {
	codes4HalfPlain(dst, codes, lut, scale)
}

func codes4Wide(even, odd []float32, codes []uint8, lut *[16]float32, scale []float32) {
	codes4WidePlain(even, odd, codes, lut, scale)
}
