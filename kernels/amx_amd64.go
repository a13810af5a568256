//go:build !noasm

package kernels

import "golang.org/x/sys/cpu"

// tilesAMX is the processor's own implementation of products on tiles.
var tilesAMX = &tileSet{stripAMX, roundTilesAMX, roundCodesAMX, quadsAMX, floatAMX}

// tilesEmulated has the sums of pairs by AVX-512.
var tilesEmulated = &tileSet{stripEmulated, roundTilesPlain, roundCodesPlain, quadsPlain, floatPlain}

// stripEmulated is stripPlain with the sums of bfloat16 pairs by AVX-512.
func stripEmulated(s *strip) {
	if s.codes {
		stripPlain(s)
		return
	}
	s.check()
	last, cols, words := s.shape()
	var sums [4][tileRows16]float32
	for t, off := range s.off[:s.groups*s.colTiles] {
		_ = s.b[off+(s.steps-1)*stepPanel+(words-1)*2*panelCols+2*tileRows16-1]
		for i := 0; i < (s.rowTiles-1)*tileRows16+last; i += len(sums) {
			rows := min(len(sums), (s.rowTiles-1)*tileRows16+last-i)
			c := s.c[i*s.ldc+t*tileRows16:]
			for r := range rows {
				clear(sums[r][:])
				if s.add == 1 {
					copy(sums[r][:cols], c[r*s.ldc:])
				}
			}
			a := s.a[i*stepHalves:]
			_ = a[(s.steps-1)*blockHalves+len(sums)*stepHalves-1]
			amxEmulate(s.steps, words, &a[0], &s.b[off], &sums[0][0])
			for r := range rows {
				copy(c[r*s.ldc:][:cols], sums[r][:])
			}
		}
	}
}

// hasTiles says whether the processor has tiles of the size that the kernels know, with products of bfloat16 pairs and 8-bit codes, and the
// operating system saves them: bits 17 and 18 of XCR0. The system must still be asked for the permission: see [permitTiles].
func hasTiles() bool {
	x := &cpu.X86
	if !x.HasAMXTile || !x.HasAMXBF16 || !x.HasAMXInt8 || !x.HasOSXSAVE || amxXCR0()>>17&3 != 3 {
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
