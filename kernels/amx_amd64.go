//go:build !noasm

package kernels

import "github.com/klauspost/cpuid/v2"

// tilesAMX is the processor's own implementation of products on tiles.
var tilesAMX = &tileSet{stripAMX, roundTilesAMX, roundCodesAMX, quadsAMX, floatAMX}

// hasTiles says whether the processor has tiles of the size that the kernels know, with products of bfloat16 pairs and 8-bit codes, and the
// operating system saves them: bits 17 and 18 of XCR0. The system must still be asked for the permission: see [permitTiles].
func hasTiles() bool {
	c := &cpuid.CPU
	if !c.Supports(cpuid.AMXTILE, cpuid.AMXBF16, cpuid.AMXINT8, cpuid.OSXSAVE) || amxXCR0()>>17&3 != 3 {
		return false
	}
	if most, _, _, _ := amxCPUID(0x1d, 0); most < 1 {
		return false
	}
	_, sizes, rows, _ := amxCPUID(0x1d, 1)
	return sizes&0xffff == 64 && sizes>>16 >= 8 && rows&0xffff >= 16
}

func stripAMX(s *strip) {
	s.check()
	switch {
	case s.rowTiles == 2 && s.colTiles == 2 && s.codes:
		amxStrip2x2Codes(s)
	case s.rowTiles == 2 && s.colTiles == 2:
		amxStrip2x2(s)
	case s.rowTiles == 2 && s.codes:
		amxStrip2x1Codes(s)
	case s.rowTiles == 2:
		amxStrip2x1(s)
	case s.colTiles == 3 && s.codes:
		amxStrip1x3Codes(s)
	case s.colTiles == 3:
		amxStrip1x3(s)
	case s.codes:
		amxStrip1x1Codes(s)
	default:
		amxStrip1x1(s)
	}
}

func roundTilesAMX(dst []uint16, src []float32) {
	n := len(src) / stepHalves
	if n > 0 {
		_ = dst[(n-1)*blockHalves+stepHalves-1]
		amxRound(n, &src[0], &dst[0])
	}
	if n*stepHalves < len(src) {
		roundTilesPlain(dst[n*blockHalves:], src[n*stepHalves:])
	}
}

func roundCodesAMX(dst []uint16, src []float32) {
	n := len(src) / (2 * stepHalves)
	if n > 0 {
		_ = dst[(n-1)*blockHalves+stepHalves-1]
		amxRoundCodes(n, &src[0], &dst[0])
	}
	if n*2*stepHalves < len(src) {
		roundCodesPlain(dst[n*blockHalves:], src[n*2*stepHalves:])
	}
}

func quadsAMX(dst []uint16, codes []int8) {
	_, _ = dst[2*panelCols-1], codes[4*panelCols-1]
	amxQuads(1, &codes[0], &dst[0])
}

func floatAMX(c []float32) {
	n := len(c) &^ 15
	if n > 0 {
		amxFloat(n/16, &c[0])
	}
	floatPlain(c[n:])
}
